#include <catch2/catch.hpp>

#include <cstring>
#include <vector>

#include <sys/mman.h>

#include "lib/oracles/late_watch.h"
#include "lib/oracles/residue.h"
#include "lib/pattern.h"
#include "lib/system.h"

namespace {

constexpr std::uint32_t slot_index = 3;
constexpr std::uint32_t stride = 4096;
constexpr std::uint32_t margin = 64;

// A read of 200 bytes in two segments, at 1000 of a region whose 900..1300 are known.
struct Read {
    std::vector<std::byte> buffer = std::vector<std::byte>(stride);
    at::Region region{2000};
    at::Slot slot{};

    Read() {
        at::pattern_fill(at::canary_of(slot_index), 0, buffer.data(), stride);
        at::pattern_fill(at::stamp(at::Stamp::payload, slot_index, 1), 0, region.content(900), 400);
        region.wrote(900, 400);
        slot.is_read = true;
        slot.device_at = 1000;
        slot.length = 200;
        slot.segments = 2;
        slot.segment[0] = {101, 50};
        slot.segment[1] = {160, 150};
        slot.res = 200;
    }
    void device_writes(std::uint32_t bytes) {
        std::uint32_t done = 0;
        for (std::uint32_t s = 0; s < 2 && done < bytes; ++s) {
            const std::uint32_t piece = std::min(slot.segment[s].length, bytes - done);
            std::memcpy(&buffer[slot.segment[s].at], region.content(1000 + done), piece);
            done += piece;
        }
    }
    std::string verdict() const {
        if (auto finding = at::judge_guards(slot, slot_index, buffer.data(), stride, margin))
            return finding->signature;
        if (auto finding = at::judge_read(slot, slot_index, buffer.data(), region, 0))
            return finding->signature;
        return "";
    }
};

} // namespace

TEST_CASE("a read of the right bytes is silent, whole or short") {
    Read read;
    read.device_writes(200);
    CHECK(read.verdict().empty());
    Read shorter;
    shorter.slot.res = 70;
    shorter.device_writes(70);
    CHECK(shorter.verdict().empty());
    shorter.device_writes(120); // more than it says, but the right bytes
    CHECK(shorter.verdict().empty());
    Read failed;
    failed.slot.res = -EIO;
    CHECK(failed.verdict().empty());
    failed.device_writes(33);
    CHECK(failed.verdict().empty());
}

TEST_CASE("a buffer's segments stand in any order of memory") {
    for (const bool into_gap : {false, true}) {
        Read read;
        std::swap(read.slot.segment[0], read.slot.segment[1]);
        read.device_writes(200);
        if (into_gap)
            read.buffer[155] ^= std::byte{1};
        CHECK(read.verdict() == (into_gap ? "data/guard" : ""));
    }
}

TEST_CASE("a residue that is too large shows as bytes never written") {
    Read read;
    read.device_writes(70);
    CHECK(read.verdict() == "data/untouched");
}

TEST_CASE("wrong bytes, and bytes outside, are told apart") {
    Read wrong;
    wrong.device_writes(200);
    wrong.buffer[170] ^= std::byte{1};
    CHECK(wrong.verdict() == "data/wrong");
    Read beyond;
    beyond.slot.res = 70;
    beyond.device_writes(70);
    beyond.buffer[300] ^= std::byte{1};
    CHECK(beyond.verdict() == "data/beyond-result");
    for (const std::uint32_t at : {100U, 155U, 310U}) {
        Read guard;
        guard.device_writes(200);
        guard.buffer[at] ^= std::byte{1};
        CHECK(guard.verdict() == "data/guard");
    }
}

TEST_CASE("a device that reads a source after its event brings the canary") {
    Read read;
    read.region.source_device_at = 1000;
    read.region.source_buffer_at = 700;
    read.region.source_length = 200;
    for (const bool known : {true, false}) {
        if (!known)
            read.region.unknown(0, 2000);
        read.device_writes(200);
        at::pattern_fill(at::canary_of(slot_index), 700, &read.buffer[101], 50);
        CHECK(read.verdict() == "late-write/source");
    }
}

TEST_CASE("what is not known is not judged, but for bytes never written") {
    Read read;
    read.region.unknown(0, 2000);
    CHECK(read.verdict() == "data/untouched");
    std::fill(&read.buffer[101], &read.buffer[151], std::byte{0});
    std::fill(&read.buffer[160], &read.buffer[310], std::byte{0});
    CHECK(read.verdict().empty());
}

TEST_CASE("a region keeps the longest stretch that is known") {
    at::Region region(1000);
    region.wrote(100, 100);
    region.wrote(200, 100);
    CHECK((region.known_from() == 100 && region.known_to() == 300));
    region.wrote(500, 10); // shorter and apart
    CHECK(region.known_to() == 300);
    region.unknown(120, 10);
    CHECK((region.known_from() == 130 && region.known_to() == 300));
    region.unknown(0, 1000);
    CHECK(!region.known(200));
}

TEST_CASE("a write after the event is seen, and after the process too") {
    Read read;
    CHECK(!at::judge_quiet(read.slot, slot_index, read.buffer.data(), "x"));
    read.buffer[102] ^= std::byte{1};
    CHECK(at::judge_quiet(read.slot, slot_index, read.buffer.data(), "its request ended")
              ->signature == "late-write/its request ended");
    at::fill_canary(read.slot, slot_index, read.buffer.data());
    CHECK(!at::judge_quiet_all(slot_index, read.buffer.data(), stride, "x"));
    read.buffer[4000] ^= std::byte{1};
    for (const char* when : {"its request ended", "its request's pages were unmapped"})
        CHECK(at::judge_quiet_all(slot_index, read.buffer.data(), stride, when)->signature ==
              std::string("late-write/") + when);

    auto run = std::make_unique<at::SharedRun>();
    run->slots_used = 1;
    run->buffer_stride = stride;
    CHECK(at::watch_after_death(*run, read.buffer.data(), std::chrono::milliseconds(1)).empty());
}

// Two slots whose buffers are one page: what fills the second writes to the first.
TEST_CASE("a buffer that changes after its process has ended is told") {
    const at::SharedMemory page("aiotorture-test", stride);
    void* const room =
        mmap(nullptr, 2 * stride, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(room != MAP_FAILED);
    auto* const buffers = static_cast<std::byte*>(room);
    for (std::byte* at : {buffers, buffers + stride})
        REQUIRE(mmap(at, stride, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, page.fd(), 0) ==
                at);
    auto run = std::make_unique<at::SharedRun>();
    run->slots_used = 2;
    run->buffer_stride = stride;
    const auto found = at::watch_after_death(*run, buffers, std::chrono::milliseconds(1));
    munmap(room, 2 * stride);
    REQUIRE(found.size() == 1);
    CHECK(found[0].signature == "late-write/its process had ended");
    CHECK(run->value(at::Counter::late_writes) == 1);
}

TEST_CASE("the source of a write stays what it is") {
    Read write;
    const std::uint64_t payload = at::stamp(at::Stamp::payload, slot_index, 1);
    at::pattern_fill(payload, 0, &write.buffer[101], 50);
    at::pattern_fill(payload, 50, &write.buffer[160], 150);
    CHECK(!at::judge_source(write.slot, payload, write.buffer.data()));
    write.buffer[309] ^= std::byte{1};
    CHECK(at::judge_source(write.slot, payload, write.buffer.data())->signature == "data/source");
}
