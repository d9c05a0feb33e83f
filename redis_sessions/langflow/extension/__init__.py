"""The Langflow extension "Redis Sessions": a component for the External Memory port of Message History.

Langflow finds it by the entry point ``langflow.extensions`` and loads what ``extension.json`` names. It works
in a stock Langflow, whether or not the plug-in has taken over: what it stores is in Redis, all else is where
it was.

===============  ==========================================================================================
module           concern
===============  ==========================================================================================
components       what Langflow loads: inputs and outputs, and nothing else, because Langflow keeps a copy of
                 this code in each flow that uses it
destination      which Redis a flow may name
history          the history of the running flow
===============  ==========================================================================================
"""
