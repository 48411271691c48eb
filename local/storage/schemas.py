"""Shapes of request bodies, checked and coerced with the words and the order of the real service's validator (Ajv).

Only what its routes use is here: types with coercion, `required`, `properties`, `items`, enums and bounds. The first
fault is told, `required` before the properties.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

from local.storage.errors import invalid_schema

__all__ = ["STRING", "TEXTS", "Schema", "checked", "integer", "object_of", "one_of"]

Schema: TypeAlias = dict[str, Any]
STRING: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": STRING}
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def integer(minimum: int) -> Schema:
    """A whole number from `minimum` on."""
    return {"type": "integer", "minimum": minimum}


def one_of(*values: str) -> Schema:
    """One of these texts."""
    return {"type": "string", "enum": values}


def object_of(*required: str, **properties: Schema) -> Schema:
    """An object; keys that are not named are dropped."""
    return {"type": "object", "required": required, "properties": properties}


def checked(value: Any, schema: Schema, where: str = "body") -> Any:
    """The value in the schema's types. Raises InvalidRequest."""
    if value is None and schema.get("nullable"):
        return None
    value = coerced(value, schema["type"], where)
    match schema["type"]:
        case "object":
            return checked_object(value, schema, where)
        case "array":
            least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
            if len(value) > most:
                raise invalid_schema(f"{where} must NOT have more than {most} items")
            if len(value) < least:
                raise invalid_schema(f"{where} must NOT have fewer than {least} items")
            return [checked(item, schema["items"], f"{where}/{place}") for place, item in enumerate(value)]
    if "minimum" in schema and value < schema["minimum"]:
        raise invalid_schema(f"{where} must be >= {schema['minimum']}")
    if "maximum" in schema and value > schema["maximum"]:
        raise invalid_schema(f"{where} must be <= {schema['maximum']}")
    if "enum" in schema and value not in schema["enum"]:
        raise invalid_schema(f"{where} must be equal to one of the allowed values")
    return value


def checked_object(value: dict[str, Any], schema: Schema, where: str) -> dict[str, Any]:
    for name in schema["required"]:
        if name not in value:
            raise invalid_schema(f"{where} must have required property '{name}'")
    return {
        name: checked(value[name], wanted, f"{where}/{name}")
        for name, wanted in schema["properties"].items()
        if name in value
    }


def coerced(value: Any, wanted: str, where: str) -> Any:
    """The value as the wanted type, as JavaScript would see it. Raises InvalidRequest."""
    if isinstance(value, list) and len(value) == 1 and wanted not in ("array", "object"):
        value = value[0]  # a list of one counts as its item, and an item as a list of one
    scalar = value is None or isinstance(value, str | bool | int | float)
    match wanted:
        case "object" if isinstance(value, dict):
            return value
        case "array" if isinstance(value, list):
            return value
        case "array" if scalar:
            return [value]
        case "string" if scalar:
            return value if isinstance(value, str) else in_javascript(value)
        case "boolean" if isinstance(value, bool):
            return value
        case "boolean" if value in ("true", 1):
            return True
        case "boolean" if value in ("false", 0, None):
            return False
        case "integer" if (number := whole_number(value)) is not None:
            return number
    raise invalid_schema(f"{where} must be {wanted}")


def in_javascript(value: bool | int | float | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def whole_number(value: Any) -> int | None:
    if value is None:
        return 0
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value) if not value.strip().isdigit() else int(value)
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    return int(value) if isinstance(value, int) else None
