"""The one port of the local stack: Auth and REST behind it, Storage inside it, the issuer of its tokens."""
