"""Names, values and what they mean: attributes, metrics, token usage, prices and cost.

Both sides of Tokentrail, the instrumentation in the application and the backend, stand on this portion. It opens no
socket and reads no environment; its only files are the price tables.
"""
