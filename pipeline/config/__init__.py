"""Typed configuration: schema, strict YAML, the registry of stages, and their construction."""
