"""Our table of messages against the real ones of TensorFlow and TensorFlow Serving."""

from __future__ import annotations

import importlib

import pytest

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.tf_serving import messages
from mlconvert.serving.tf_serving.messages import DATA_TYPES, ENUMS, MESSAGES, METHODS, message, parse_text, pool

REAL = (
    "tensorflow_serving.apis.predict_pb2",
    "tensorflow_serving.apis.get_model_metadata_pb2",
    "tensorflow_serving.apis.model_management_pb2",
    "tensorflow_serving.apis.prediction_log_pb2",
    "tensorflow_serving.apis.prediction_service_pb2",
    "tensorflow_serving.apis.model_service_pb2",
    "tensorflow_serving.config.model_server_config_pb2",
    "tensorflow.core.protobuf.saved_model_pb2",
)
NOT_IN_PYTHON = ("MonitoringConfig", "PrometheusConfig", "BatchingParameters")  # no package has their real ones


@pytest.fixture(scope="module")
def real():
    for module in REAL:
        importlib.import_module(module)
    from google.protobuf import descriptor_pool

    return descriptor_pool.Default()


def _field(field):
    target = field.message_type or field.enum_type
    return {
        "name": field.name,
        "number": field.number,
        "type": field.type,
        "repeated": field.is_repeated,
        "presence": field.has_presence,
        "oneof": field.containing_oneof.name if field.containing_oneof else None,
        "target": target.full_name if target else None,
    }


def test_every_field_of_the_table_is_as_the_real_one(real):
    compared = 0
    for full in MESSAGES:
        if full.rpartition(".")[2] in NOT_IN_PYTHON:
            continue
        ours, theirs = pool().FindMessageTypeByName(full), real.FindMessageTypeByName(full)
        for field in ours.fields:
            assert _field(field) == _field(theirs.fields_by_name[field.name]), f"{full}.{field.name}"
            compared += 1
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                entry = theirs.fields_by_name[field.name].message_type
                assert entry.GetOptions().map_entry
                assert [_field(one) for one in field.message_type.fields] == [_field(one) for one in entry.fields]
    assert compared > 150


def test_every_value_of_the_enumerations_is_as_the_real_one(real):
    for full, values in ENUMS.items():
        theirs = real.FindEnumTypeByName(full)
        assert dict(values) == {name: theirs.values_by_name[name].number for name in values}


def test_the_data_types_are_complete(real):
    theirs = real.FindEnumTypeByName("tensorflow.DataType")
    assert {value.name for value in theirs.values if not value.name.endswith("_REF")} == set(DATA_TYPES)
    assert messages.type_name(19) == "DT_HALF"
    assert messages.type_name(99) == "DT_99"


@pytest.mark.parametrize(
    "name",
    ["ModelServerConfig", "ModelConfigList", "ModelConfig", "LoggingConfig", "SamplingConfig", "LogCollectorConfig"],
)
def test_nothing_that_a_models_config_may_say_is_left_out(real, name):
    theirs = real.FindMessageTypeByName(f"tensorflow.serving.{name}")
    assert {field.name for field in theirs.fields} == {field.name for field in message(name).DESCRIPTOR.fields}


def test_the_methods_are_those_of_the_services(real):
    for method, (service, request, answer) in METHODS.items():
        theirs = real.FindServiceByName(service).methods_by_name[method]
        assert (theirs.input_type.name, theirs.output_type.name) == (request, answer)


def test_what_one_writes_the_other_reads():
    from tensorflow_serving.apis import predict_pb2

    ours = message("PredictRequest")()
    ours.model_spec.name = "m"
    ours.model_spec.version.value = 7
    ours.inputs["x"].dtype = DATA_TYPES["DT_HALF"]
    ours.inputs["x"].half_val.append(3)
    theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert theirs.model_spec.version.value == 7
    theirs.client_id = b"kept"
    back = message("PredictRequest").FromString(theirs.SerializeToString())
    assert back.inputs["x"] == ours.inputs["x"]
    assert predict_pb2.PredictRequest.FromString(back.SerializeToString()).client_id == b"kept"


def test_a_text_that_does_not_parse_is_an_error_with_its_line():
    text = "model_config_list {\n  config { nmae: 'm' }\n}\n"
    with pytest.raises(RepositoryInvalid, match=r"not a models\.config") as caught:
        parse_text("ModelServerConfig", text, where="models.config", what="a models.config")
    assert caught.value.where == "models.config:2"


def test_batching_and_monitoring_texts_parse():
    batching = "max_batch_size { value: 128 } allowed_batch_sizes: 8 enable_large_batch_splitting { value: true }"
    assert parse_text("BatchingParameters", batching, where="b", what="b").max_batch_size.value == 128
    monitoring = 'prometheus_config { enable: true path: "/metrics" }'
    assert parse_text("MonitoringConfig", monitoring, where="m", what="m").prometheus_config.path == "/metrics"


def test_an_unknown_message_is_an_error_of_ours():
    with pytest.raises(KeyError, match="no message or enumeration 'Nothing'"):
        message("Nothing")
