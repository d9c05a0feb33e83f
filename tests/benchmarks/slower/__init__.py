"""redis-sessions made worse on purpose, each in one way: what the gate must see."""
