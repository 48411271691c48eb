"""The refusals of the Storage API in the words of the real service.

- StorageError           anything a client is told: JSON on /object and /bucket, plain text on /upload/resumable
- ProtocolError          a rule of TUS itself is broken; always plain text with a closing newline
- ClientGone             the client closed the connection; there is nobody to answer

Almost every refusal is HTTP 400; the verdict is the text `statusCode` in the body.
"""

from __future__ import annotations

import errno

import psycopg

__all__ = [
    "ClientGone",
    "ProtocolError",
    "StorageError",
    "access_denied",
    "bucket_not_found",
    "invalid_bucket_name",
    "invalid_key",
    "invalid_mime_type",
    "invalid_parameter",
    "invalid_request",
    "invalid_schema",
    "key_already_exists",
    "object_not_found",
    "of_database",
    "of_disk",
    "too_large",
]


class ClientGone(Exception):
    """The client closed the connection before its request or its answer was whole."""


class ProtocolError(Exception):
    """A rule of the TUS protocol is broken; `status` is the real HTTP status, `text` the body without its newline."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class StorageError(Exception):
    """A refusal with the four keys of its body; `http_status` is 500 for "500" and else 400 unless given."""

    def __init__(self, status: int, error: str, message: str, code: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.status, self.error, self.message, self.code = status, error, message, code
        self.http_status = http_status or (500 if status == 500 else 400)

    def body(self) -> dict[str, str]:
        """The JSON body of the answer."""
        return {"statusCode": str(self.status), "error": self.error, "message": self.message, "code": self.code}


def access_denied(message: str, http_status: int | None = None) -> StorageError:
    """Row level security, a bad token or a role that may not."""
    return StorageError(403, "Unauthorized", message, "AccessDenied", http_status)


def bucket_not_found() -> StorageError:
    """The bucket is missing, or hidden from this caller."""
    return StorageError(404, "Bucket not found", "Bucket not found", "NoSuchBucket")


def object_not_found() -> StorageError:
    """The object is missing, or hidden from this caller."""
    return StorageError(404, "not_found", "Object not found", "NoSuchKey")


def invalid_key(key: str) -> StorageError:
    """The object's name holds what no name may hold."""
    return StorageError(400, "InvalidKey", f"Invalid key: {key}", "InvalidKey")


def invalid_bucket_name() -> StorageError:
    """The bucket's name holds what no name may hold."""
    return StorageError(400, "Invalid Input", "Bucket name invalid", "InvalidBucketName")


def invalid_parameter(name: str) -> StorageError:
    """A parameter has the right type and an impossible value."""
    return StorageError(400, "InvalidParameter", f"Invalid Parameter {name}", "InvalidParameter")


def invalid_schema(message: str) -> StorageError:
    """Query, headers or body do not have the shape that the route asks for."""
    return StorageError(400, "Error", message, "InvalidRequest")


def invalid_request(message: str) -> StorageError:
    """The request cannot be carried out as sent."""
    return StorageError(400, "InvalidRequest", message, "InvalidRequest")


def invalid_mime_type(message: str) -> StorageError:
    """The type is malformed, or the bucket does not take it."""
    return StorageError(415, "invalid_mime_type", message, "InvalidMimeType")


def too_large() -> StorageError:
    """Longer than the bucket or the installation allows."""
    return StorageError(413, "Payload too large", "The object exceeded the maximum allowed size", "EntityTooLarge")


def key_already_exists() -> StorageError:
    """There is an object of this name and the upload must not replace it."""
    return StorageError(409, "Duplicate", "The resource already exists", "KeyAlreadyExists")


def internal() -> StorageError:
    """Something that is no client's business."""
    return StorageError(500, "Internal", "Internal Server Error", "InternalError")


def of_disk(problem: OSError) -> StorageError:
    """What a client is told when bytes cannot be written: that there is no room, else nothing of its business."""
    if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return internal()
    return StorageError(500, "Internal", "The disk of the Storage service is full", "InternalError")


def of_database(problem: psycopg.Error, duplicate: str = "KeyAlreadyExists") -> StorageError:
    """What a client is told of a refusal by the database: the message of SQLSTATE 42501 alone gets through.

    duplicate: the code of a unique violation; move and buckets have their own.
    """
    message = problem.diag.message_primary or str(problem)
    match problem.sqlstate:
        case "42501":
            hidden = "row-level security" in message
            return access_denied("new row violates row-level security policy" if hidden else message)
        case "23505":
            return StorageError(409, "Duplicate", "The resource already exists", duplicate)
        case "23503":
            return StorageError(404, "InvalidRequest", "The related resource does not exist", "InvalidRequest")
        case "22P02":
            return StorageError(400, "InvalidParameter", message, "InvalidParameter")
        case "55P03":
            return StorageError(423, "ResourceLocked", "The resource is locked", "ResourceLocked")
        case "57014":
            text = "The connection to the database timed out"
            return StorageError(544, "DatabaseTimeout", text, "DatabaseTimeout", 544)
        case "53300":
            text = "The database has reached its maximum number of connections. Please try again later."
            return StorageError(503, "DatabaseConnectionLimit", text, "DatabaseConnectionLimit")
        case "25006":
            text = "The database is currently in read-only mode. Please try again later."
            return StorageError(503, "DatabaseReadOnly", text, "DatabaseReadOnly")
        case "42P17":
            text, code = "The database schema is invalid or incompatible.", "DatabaseInvalidObjectDefinition"
            return StorageError(503, code, text, code)
        case "42703" | "42P01":
            text = "The database schema is out of sync. Please run migrations or contact support."
            return StorageError(503, "DatabaseSchemaMismatch", text, "DatabaseSchemaMismatch")
        case None:
            return internal()
        case code:
            return StorageError(500, "DatabaseError", f"database error, code: {code}", "DatabaseError")
