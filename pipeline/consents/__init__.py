"""Asking a consumer for consent by mail: request, wording, mail, answer. Mailed by the stage `notify`."""
