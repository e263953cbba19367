"""Generated protocol code: messages (`x_pb2`), servicers and typed client stubs (`x_grpc`).

Everything here but `interfaces.py` and this file is written by `proto/generate.py` from the files
in `proto/`. Never edit it; a test regenerates and compares. Import the modules, not their contents:
`from trio_driver._proto import driver_pb2`.

Files are registered with protobuf as `trio_driver/_proto/x.proto`, which no other package uses.
"""
