from lfx.base.memory.model import LCChatMemoryComponent
from lfx.field_typing.constants import Memory
from lfx.inputs.inputs import InputTypes, IntInput, MessageTextInput, SecretStrInput, StrInput
from lfx.schema.dataframe import DataFrame
from lfx.template.field.base import Output

from redis_sessions.langflow.extension.history import MOST, asked_for, history_of, rows_of


class RedisSessionsComponent(LCChatMemoryComponent):
    display_name: str | None = "Redis Sessions"
    description: str | None = "Chat history in Redis. Connect it to the External Memory of Message History."
    icon: str | None = "Redis"
    name: str | None = "RedisSessions"

    inputs: list[InputTypes] = [
        SecretStrInput(
            name="url",
            display_name="Redis URL",
            info="redis://host:6379/0, rediss:// (TLS), redis+sentinel://, redis+cluster://. "
            "Empty: the server's own (REDIS_SESSIONS_URL).",
        ),
        StrInput(name="username", display_name="Username", info="Overrides the URL's.", advanced=True),
        SecretStrInput(
            name="password",
            display_name="Password",
            info="As it is, with any characters. Overrides the URL's.",
            advanced=True,
        ),
        MessageTextInput(
            name="session_id",
            display_name="Session ID",
            info="Empty: the session of the run.",
            advanced=True,
        ),
        IntInput(
            name="n_messages",
            display_name="Number of Messages",
            info="At most this many are read, the newest. 0: as many as the connected Message History shows.",
            value=0,
            advanced=True,
        ),
        IntInput(
            name="ttl",
            display_name="Time to Live",
            info="Seconds without a new message after which a session goes. 0: the server's setting (never).",
            value=0,
            advanced=True,
        ),
        StrInput(
            name="prefix",
            display_name="Key Prefix",
            info="First part of every key. Empty: the server's setting (rs).",
            advanced=True,
        ),
    ]
    outputs: list[Output] = [
        Output(display_name="Memory", name="memory", method="build_message_history"),
        Output(display_name="Messages", name="messages", method="retrieve_messages"),
    ]

    async def build_message_history(self) -> Memory:
        asked = self.n_messages or asked_for(self, "memory")
        return await history_of(self, limit=MOST if asked is None else asked)

    async def retrieve_messages(self) -> DataFrame:
        history = await history_of(self, limit=self.n_messages or 100)
        return DataFrame(await rows_of(history))
