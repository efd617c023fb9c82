#include <catch2/catch.hpp>

#include <string>

#include "lib/oracles/ring.h"

namespace {

// Two requests in a ring of 16, one that waits with two descriptors set aside.
at::RingState sound() {
    return at::parse_ring(
        "halted 0\ngone 0\nstarts 3\nroom_for 0\nbusy 5\nin_ring 5\nspan 7\n"
        "outside 0\ngarbled 0\nunrung 0\nsize 16\nreserved 2\npromised 2\nhoarded 0\nunowned 0\n"
        "untimed 0\nstranded 0\nlive 3\nlisted 3\nunordered 0\n"
        "queued_reads 1\nqueued_writes 2\n");
}

std::string named(const at::RingState& ring) {
    const auto finding = at::judge_ring(ring);
    return finding ? finding->signature : "";
}

} // namespace

TEST_CASE("the file ring is read line by line") {
    const at::RingState ring = sound();
    CHECK(ring.starts == 3);
    CHECK(ring.span == 7);
    CHECK(ring.promised == 2);
    CHECK(ring.queued_writes == 2);
    CHECK(ring.text.find("span 7 outside 0") != std::string::npos);
    CHECK(at::parse_ring("halted 1\ngone 1\nroom_for 9\n").room_for == 9);
    CHECK(at::parse_ring("").busy == 0);
}

TEST_CASE("what the driver's lock guards adds up") {
    CHECK(named(at::RingState{}).empty());
    CHECK(named(sound()).empty());
    const struct {
        const char* signature;
        void (*breaks)(at::RingState&);
    } broken[] = {
        {"ledger/ring/busy", [](at::RingState& ring) { ring.busy = 6; }},
        {"ledger/ring/outside", [](at::RingState& ring) { ring.outside = 1; }},
        {"ledger/ring/outside", [](at::RingState& ring) { ring.span = 4; }},
        {"ledger/ring/garbled", [](at::RingState& ring) { ring.garbled = 1; }},
        {"ledger/ring/unrung", [](at::RingState& ring) { ring.unrung = 4294967295; }},
        {"ledger/ring/oversold", [](at::RingState& ring) { ring.span = 15; }},
        {"ledger/ring/reserved", [](at::RingState& ring) { ring.reserved = 0; }},
        {"ledger/ring/hoarded", [](at::RingState& ring) { ring.hoarded = 1; }},
        {"ledger/ring/unowned", [](at::RingState& ring) { ring.unowned = 1; }},
        {"ledger/ring/untimed", [](at::RingState& ring) { ring.untimed = 1; }},
        {"ledger/ring/stranded", [](at::RingState& ring) { ring.stranded = 1; }},
        {"ledger/ring/live", [](at::RingState& ring) { ring.live = 2; }},
        {"ledger/ring/unordered", [](at::RingState& ring) { ring.unordered = 1; }},
        {"ledger/ring/queued", [](at::RingState& ring) { ring.queued_reads = -1; }},
        {"ledger/ring/queued", [](at::RingState& ring) { ring.queued_writes = 3; }},
    };
    for (const auto& one : broken) {
        at::RingState ring = sound();
        one.breaks(ring);
        CHECK(named(ring) == one.signature);
    }
}
