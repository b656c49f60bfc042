"""Resource and scope of log records and metrics, in protobuf and in JSON."""

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope

from tokentrail.backend.receiver import json_fields as fields
from tokentrail.backend.receiver.protobuf_fields import attributes
from tokentrail.backend.signals import Origin
from tokentrail.backend.span import Attributes

_MAX_UINT32 = 2**32 - 1


def protobuf_origin(
    resource: Attributes, resource_schema_url: str, scope: InstrumentationScope, scope_schema_url: str
) -> Origin:
    """Where the records of a scope come from."""
    return Origin(
        resource_attributes=resource,
        resource_schema_url=resource_schema_url,
        scope_name=scope.name,
        scope_version=scope.version,
        scope_attributes=attributes(scope.attributes),
        scope_dropped_attributes=scope.dropped_attributes_count,
        scope_schema_url=scope_schema_url,
    )


def json_origin(resource: Attributes, of_resource: fields.Object, of_scope: fields.Object, scope_place: str) -> Origin:
    """Where the records of a scope come from; the objects are those that hold `resource` and `scope`."""
    scope = fields.child(of_scope, "scope", scope_place)
    return Origin(
        resource_attributes=resource,
        resource_schema_url=fields.text(fields.get(of_resource, "schemaUrl")),
        scope_name=fields.text(fields.get(scope, "name")),
        scope_version=fields.text(fields.get(scope, "version")),
        scope_attributes=fields.attributes(scope, f"{scope_place}.scope"),
        scope_dropped_attributes=min(fields.count(fields.get(scope, "droppedAttributesCount")), _MAX_UINT32),
        scope_schema_url=fields.text(fields.get(of_scope, "schemaUrl")),
    )
