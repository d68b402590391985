// SPDX-License-Identifier: Apache-2.0
// What viem makes of typed data. Reads a JSON array of {typedData, privateKey}, writes one of what it found.
import { readFileSync } from "node:fs";
import { hashDomain, hashStruct, hashTypedData, recoverTypedDataAddress } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const cases = JSON.parse(readFileSync(0, "utf8"));
const found = await Promise.all(
  cases.map(async ({ typedData, privateKey }) => {
    const { domain, message, primaryType, types } = typedData;
    const signature = await privateKeyToAccount(privateKey).signTypedData(typedData);
    return {
      domainSeparator: hashDomain({ domain, types }),
      structHash: hashStruct({ data: message, primaryType, types }),
      digest: hashTypedData(typedData),
      signature,
      signer: await recoverTypedDataAddress({ ...typedData, signature }),
    };
  }),
);
process.stdout.write(JSON.stringify(found));
