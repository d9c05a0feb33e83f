"""The Langflow plug-in: a stock Langflow keeps its sessions in Redis.

``plugin.register`` is what Langflow loads (entry point ``langflow.plugins``), ``services`` what lfx loads
(entry point ``lfx.services``). Everything that imports ``langflow`` or ``lfx`` is in this folder; importing
``redis_sessions`` imports none of it. Without ``REDIS_SESSIONS_URL`` nothing of Langflow is touched.

===============  ==========================================================================================
module           concern
===============  ==========================================================================================
settings         whether the plug-in is on, and which Redis
runtime          the store of the running event loop; the way in for synchronous callers
startup          the check before anything is replaced: Redis, and the version of Langflow
seams            the one place that replaces a function of Langflow, and puts it back
plugin, services the entry points
memory           chat memory: what ``lfx.memory`` and ``langflow.memory`` offer
convert          Langflow's messages to stored ones, and back
standalone       chat memory for ``lfx run`` and ``lfx serve`` without Langflow
===============  ==========================================================================================
"""
