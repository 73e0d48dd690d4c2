"""Citations that several freedoms share."""

from __future__ import annotations

from typing import Final

from rejoinder.contract import cite

OPENAI_RESPONSE: Final = cite("openai-openapi", "Response, required and nullable fields")
OPENAI_EXTRA: Final = cite("openai-python", "BaseModel, model_config extra allow", "src/openai/_models.py")
OPENAI_ERROR: Final = cite("openai-openapi", "Error")
OPENAI_STATUS: Final = cite("openai-python", "APIStatusError and its classes by status", "src/openai/_exceptions.py")
TZAFON_RESPONSE: Final = cite("tzafon", "src/tzafon/types/response_create_response.py, ResponseCreateResponse")
TZAFON_STATUS: Final = cite("tzafon", "src/tzafon/_exceptions.py, APIStatusError and its classes by status")
VLLM_RESPONSE: Final = cite("vllm", "ResponsesResponse", "vllm/entrypoints/openai/responses/protocol.py")
OPENRESPONSES_RESPONSE: Final = cite("openresponses-openapi", "ResponseResource")
OPENRESPONSES_ERRORS: Final = cite("openresponses", "Errors; Error Types")
OPENRESPONSES_EXTENSIONS: Final = cite("openresponses", "Extending streaming events; Extending existing schemas")

STATUSES: Final = (OPENAI_STATUS, TZAFON_STATUS, OPENRESPONSES_ERRORS)
"""Which statuses and error types the dialects' documents and clients know."""
