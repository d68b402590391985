// SPDX-License-Identifier: Apache-2.0
// Pseudonyms, written from enclave/spec/pseudonyms.md alone. Each argument is the path of a vector; a line of JSON each.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const hmac = (key, data) => createHmac("sha256", key).update(data).digest();

function tuple(...texts) {
  const fields = texts.map((text) => Buffer.from(text, "utf8"));
  return Buffer.concat(
    fields.flatMap((field) => {
      const length = Buffer.alloc(8);
      length.writeBigUInt64BE(BigInt(field.length));
      return [length, field];
    }),
  );
}

const steps = {
  trim: (id) => id.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, ""),
  upper: (id) => id.replace(/[a-z]/g, (letter) => letter.toUpperCase()),
  "no-separators": (id) => id.replace(/[\t .,:;/\\_\-\u00a0\u2010-\u2013]/g, ""),
  "digits-only": (id) => id.replace(/[^0-9]/g, ""),
  "strip-zeros": (id) => id.replace(/^0+(?=[^])/, ""),
};

for (const path of process.argv.slice(2)) {
  const data = readFileSync(path);
  const at = data.indexOf("\n\n");
  const lines = data.subarray(0, at).toString("utf8").split("\n");
  const fields = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s).slice(0, 2)));
  let id = data.subarray(at + 2).toString("utf8").normalize("NFC");
  for (const step of fields.spelling === "none" ? [] : fields.spelling.split(" ")) id = steps[step](id);
  const key = Buffer.from(fields.key, "hex");
  const tag = hmac(hmac(key, tuple("sealroom/v1/pseudonym", fields.study, fields.of)), Buffer.from(id, "utf8"));
  console.log(
    JSON.stringify({
      fingerprint: hmac(key, tuple("sealroom/v1/pseudonym-key")).toString("hex"),
      int64: (tag.readBigUInt64BE(0) & 0x7fffffffffffffffn).toString(),
      string: tag.subarray(0, 16).toString("hex"),
    }),
  );
}
