"""Pages beside the chat addresses: operations, health, models, the description of the API."""
