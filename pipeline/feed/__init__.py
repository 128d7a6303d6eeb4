"""What senders are told: events in one order without holes, and the webhooks that carry them.

Owns     the types of events, the body of one, what a webhook may be, its signed requests, when it is tried again
Elsewhere: where events come from (triggers of schemas/migrations/0009_feed.sql), SQL, HTTP
"""
