// Where Ravelin listens, told by the runner (../clients.sh).
const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: start this suite with tests/suites/clients.sh`);
  return value;
};

export const TLS = need("CLIENTS_TLS_URL"); // ALPN h2 and http/1.1
export const PLAIN = need("CLIENTS_PLAIN_URL"); // HTTP/1.1 and h2c by prior knowledge
export const LEGS = [
  ["TLS", TLS],
  ["plaintext", PLAIN],
];

// The route makes gRPC of gRPC-Web, and upstream speaks nothing else.
export const TRANSLATED = process.env.CLIENTS_TRANSLATED === "1";

let serial = 0;
/** A name no other call has, also not in another round. */
export const unique = (what) => `${what}-${process.pid}-${Date.now()}-${serial++}`;

/** Asks until `question` says yes; a fault shows as a refusal after 10 s. */
export async function eventually(question, what) {
  const end = Date.now() + 10_000;
  while (!(await question())) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
