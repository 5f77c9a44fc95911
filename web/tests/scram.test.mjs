import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import test from "node:test";
import { deriveKeys, makePassword, makeVerifier } from "../scram.js";

const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");

test("the keys are those of RFC 7677, section 3", async () => {
    const { storedKey, serverKey } = await deriveKeys("pencil", salt, 4096);
    const nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const message = "n=user,r=rOprNGfwEbeRWgbNEkqO," +
        `r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=${nonce}`;
    const serverSignature = createHmac("sha256", serverKey).update(message).digest("base64");
    assert.equal(serverSignature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    const proof = Buffer.from("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "base64");
    const signature = createHmac("sha256", storedKey).update(message).digest();
    const clientKey = proof.map((byte, at) => byte ^ signature[at]);
    assert.deepEqual(createHash("sha256").update(clientKey).digest(), Buffer.from(storedKey));
});

test("a verifier has Postgres's form, and a salt of its own each time", async () => {
    const form = /^SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/;
    const [one, two] = [await makeVerifier("pencil"), await makeVerifier("pencil")];
    assert.match(one, form);
    assert.notEqual(one, two);
});

test("a password has 24 letters and digits, and all of them occur", () => {
    const seen = new Set();
    for (let round = 0; round < 200; round += 1) {
        const password = makePassword();
        assert.match(password, /^[A-Za-z0-9]{24}$/);
        for (const character of password) seen.add(character);
    }
    assert.equal(seen.size, 62);
});
