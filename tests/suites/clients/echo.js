// The service that the clients call, built at runtime so that no protoc is
// needed. One message for everything: a request says what shall happen to it,
// an answer says what happened.
import { create, createFileRegistry } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

const field = (name, number, type) => ({ name, jsonName: camel(name), number, type, label: Label.OPTIONAL });
const camel = (name) => name.replace(/_(.)/g, (_, c) => c.toUpperCase());
const MESSAGE = ".ravelin.clients.v1.Message";
const method = (name, clientStreaming, serverStreaming, idempotencyLevel = 0) => ({
  name,
  inputType: MESSAGE,
  outputType: MESSAGE,
  clientStreaming,
  serverStreaming,
  options: { idempotencyLevel },
});

const file = create(FileDescriptorProtoSchema, {
  name: "ravelin/clients/v1/echo.proto",
  package: "ravelin.clients.v1",
  syntax: "proto3",
  messageType: [
    {
      name: "Message",
      field: [
        field("text", 1, Type.STRING),
        field("body", 2, Type.BYTES),
        field("count", 3, Type.INT32), // how many answers are wanted, or which one this is
        field("fail_code", 4, Type.INT32), // end with this code …
        field("fail_after", 5, Type.INT32), // … after so many answers
        field("delay_ms", 6, Type.INT32), // wait before the first answer
        field("timeout_ms", 7, Type.INT32), // answer: the deadline that arrived
      ],
    },
  ],
  service: [
    {
      name: "Echo",
      method: [
        method("Unary", false, false),
        method("Read", false, false, 1), // NO_SIDE_EFFECTS: Connect may use GET
        method("ServerStream", false, true),
        method("ClientStream", true, false),
        method("Bidi", true, true),
        method("Cancelled", false, false), // count = 1 if the call named `text` was cancelled
      ],
    },
  ],
});

const registry = createFileRegistry(file, () => undefined);
export const Message = registry.getMessage("ravelin.clients.v1.Message");
export const Echo = registry.getService("ravelin.clients.v1.Echo");
export const message = (init) => create(Message, init);

/** `n` bytes that no codec shortens and that show a shift or a swap. */
export function bytes(n) {
  const out = new Uint8Array(n);
  for (let i = 0; i < n; i++) out[i] = (i * 31 + (i >> 8) * 7) & 0xff;
  return out;
}
