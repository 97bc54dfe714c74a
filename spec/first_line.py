"""The first line of every generated spec: where editors find its JSON Schema."""

from __future__ import annotations

SCHEMA_FILE = "nhnas.schema.json"
FIRST_LINE = f"yaml-language-server: $schema=./{SCHEMA_FILE}"
"""Behind the comment sign."""
