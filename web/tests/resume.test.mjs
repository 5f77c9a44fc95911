// Two machines, a wire that is cut anywhere and as often as it likes: what was sent arrives, once,
// in order, and neither end keeps more than it may.

import assert from "node:assert/strict";
import test from "node:test";
import { concat } from "../frames.js";
import { LinkMachine, browserLimits } from "../tunnel.js";
import { randomBytes, seeded } from "./support/random.mjs";
import { RelayMachine } from "./support/relay-machine.mjs";

const limits = {
    ...browserLimits, initialWindow: 4096, minimumWindow: 1024, maximumWindow: 16_384,
    windowBudget: 65_536, replay: 8192, acknowledgeEvery: 2048,
};

/** One direction of a wire: bytes that are on their way. */
class Wire {
    #parts = [];
    get bytes() { return this.#parts.reduce((sum, part) => sum + part.length, 0); }
    write(chunk) { this.#parts.push(chunk.slice()); }
    read(atMost) {
        const whole = concat(this.#parts);
        this.#parts = whole.length > atMost ? [whole.subarray(atMost)] : [];
        return whole.subarray(0, atMost);
    }
    cut() { this.#parts = []; }
}

class Side {
    constructor(machine) {
        this.machine = machine;
        this.wire = new Wire();
        this.sent = [];
        this.got = [];
        this.unconsumed = 0;
        this.isOver = false;
    }

    take(bytes, now) {
        for (const event of this.machine.receive(bytes, now)) {
            assert.notEqual(event.type, "reset");
            if (event.type === "open") {
                this.machine.accept(event.id, { window: this.machine.window(event.id) });
                this.machine.granted(event.id, 4096);
            } else if (event.type === "accepted") {
                this.machine.granted(event.id, 4096);
            } else if (event.type === "data") {
                this.got.push(event.bytes.slice());
                this.unconsumed += event.bytes.length;
            } else if (event.type === "finished") {
                assert.equal(this.isOver, false);
                this.isOver = true;
            }
        }
    }
}

function run(seed, steps) {
    const random = seeded(seed);
    const agent = new Side(new LinkMachine(limits, 0));
    const relay = new Side(new RelayMachine(0, limits));
    const sides = [agent, relay];
    const id = relay.machine.open({ kind: "engine", window: 4096 });
    let now = 0;
    const move = (side, other, atMost) => {
        const chunk = side.machine.nextChunk(now);
        if (chunk !== null) side.wire.write(chunk);
        other.take(side.wire.read(atMost), now);
    };
    const cut = () => {
        for (const side of sides) {
            // Some of what was on its way still arrives.
            const other = side === agent ? relay : agent;
            other.take(side.wire.read(random.below(side.wire.bytes + 1)), now);
        }
        for (const side of sides) {
            side.wire.cut();
            side.machine.disconnected();
        }
        const [ofAgent, ofRelay] = [agent.machine.received, relay.machine.received];
        agent.machine.resumed(ofRelay, now);
        relay.machine.resumed(ofAgent, now);
    };
    for (let step = 0; step < steps; step += 1) {
        now += random.below(60);
        const side = sides[random.below(2)];
        const other = side === agent ? relay : agent;
        const choice = random.below(100);
        if (choice < 20 && side.machine.queuedBytes(id) < 20_000) {
            const bytes = randomBytes(random, random.below(3000));
            if (side.machine.has(id)) side.sent.push(bytes);
            side.machine.send(id, bytes);
        } else if (choice < 70) {
            move(side, other, random.below(5000));
        } else if (choice < 90) {
            const bytes = random.below(side.unconsumed + 1);
            side.unconsumed -= bytes;
            side.machine.consumed(id, bytes, now);
        } else if (choice < 95) {
            side.machine.acknowledge();
        } else {
            cut();
        }
        const kept = side.machine.unacknowledgedBytes;
        assert.ok(kept < limits.replay + 65_536 + 8, `${kept} bytes are kept`);
        assert.ok(side.unconsumed <= limits.maximumWindow);
    }
    for (const side of sides) side.machine.finish(id);
    for (let round = 0; !(agent.isOver && relay.isOver); round += 1) {
        assert.ok(round < 10_000, "both ends come to an end");
        now += 50;
        for (const side of sides) {
            side.machine.consumed(id, side.unconsumed, now);
            side.unconsumed = 0;
            side.machine.acknowledge();
            move(side, side === agent ? relay : agent, 1_000_000);
        }
    }
    // The relay's stream exists for the agent only once OPEN came: what was sent before is not.
    assert.deepEqual(concat(agent.got), concat(relay.sent));
    assert.deepEqual(concat(relay.got), concat(agent.sent));
    assert.equal(agent.machine.has(id) || relay.machine.has(id), false);
}

for (let seed = 1; seed <= 200; seed += 1) {
    test(`nothing is lost or doubled, seed ${seed}`, () => run(seed, 300));
}

test("the example of section 7: cut in the middle of a payload, the rest has no header", () => {
    const relay = new RelayMachine(0);
    const agent = new LinkMachine(browserLimits, 0);
    const id = relay.open({ kind: "engine" });
    const bytes = randomBytes(seeded(7), 1000);
    relay.nextChunk(0);
    agent.receive(relay.nextChunk(0), 0);
    agent.accept(id, { window: 262_144 });
    agent.nextChunk(0);
    relay.receive(agent.nextChunk(0), 0);
    relay.granted(id, 262_144);
    relay.send(id, bytes);
    const data = relay.nextChunk(0);
    const before = agent.received;
    const [first] = agent.receive(data.subarray(0, 500), 0);
    assert.equal(agent.received, before + 500);
    agent.disconnected();
    relay.disconnected();
    relay.resumed(agent.received, 0);
    agent.resumed(relay.received, 0);
    const rest = relay.nextChunk(0);
    assert.deepEqual([...rest], [...data.subarray(500)]);
    const [second] = agent.receive(rest, 0);
    assert.deepEqual(concat([first.bytes, second.bytes]), bytes);
});

test("an offset that was never sent, or was acknowledged before, ends the link", () => {
    const relay = new RelayMachine(0);
    relay.open({ kind: "engine" });
    relay.nextChunk(0);
    const sent = relay.nextChunk(0).length;
    relay.disconnected();
    assert.throws(() => relay.resumed(sent + 1, 0), { code: "bad_offset" });
});
