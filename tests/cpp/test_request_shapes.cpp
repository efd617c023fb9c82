#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "lib/oracles/residue.h"
#include "lib/pattern.h"
#include "lib/random.h"
#include "lib/request_shapes.h"

TEST_CASE("segments keep to cache lines of their own only when they are asked to") {
    at::Random random(7, 0, 0);
    bool shared = false;
    for (std::uint32_t end = 1; end < 4096; ++end) {
        const std::uint32_t last_line = (end - 1) / 64;
        CHECK((end + at::segment_gap(random, true)) / 64 > last_line);
        const std::uint32_t gap = at::segment_gap(random, false);
        CHECK(gap < 64);
        shared = shared || (end + gap) / 64 == last_line;
    }
    CHECK(shared);
}

TEST_CASE("own lines take nothing from what is drawn afterwards") {
    at::Random one(7, 0, 0);
    at::Random other(7, 0, 0);
    at::segment_gap(one, true);
    at::segment_gap(other, false);
    CHECK(one.below(1U << 30) == other.below(1U << 30));
}

namespace {

// The file behind private buffers, as the kernel would write to it that had broken no sharing.
std::byte* file_behind() {
    std::FILE* const maps = std::fopen("/proc/self/maps", "re");
    REQUIRE(maps);
    void* start = nullptr;
    char line[512];
    while (std::fgets(line, sizeof line, maps))
        if (std::strstr(line, "aiotorture-private") && std::strstr(line, "rw-s"))
            std::sscanf(line, "%p", &start);
    std::fclose(maps);
    return static_cast<std::byte*>(start);
}

} // namespace

TEST_CASE("a read into a private mapping leaves the file behind it alone") {
    constexpr std::uint32_t bytes = 4096;
    void* const room =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(room != MAP_FAILED);
    auto* const buffer = static_cast<std::byte*>(room);
    {
        at::PrivateBuffers buffers;
        buffers.create(buffer, 1, bytes, 1.0);
        REQUIRE(buffers.covers(0));
        at::Slot slot{};
        slot.is_read = true;
        slot.segments = 1;
        slot.segment[0] = {100, 50};
        CHECK(at::pattern_check(at::canary_of(0), 0, buffer, bytes) == at::pattern_matches);
        buffer[120] ^= std::byte{1}; // a copy of its own
        CHECK(!buffers.judge(slot, 0));
        std::byte* const file = file_behind();
        REQUIRE(file);
        file[120] ^= std::byte{1};
        CHECK(buffers.judge(slot, 0)->signature == "data/private");
        CHECK(!buffers.judge(slot, 0)); // told once, and mended
    }
    munmap(room, bytes);
}

TEST_CASE("a request that is refused for its memory writes to no part of it") {
    at::BadMemory memory(4096);
    at::Random random(3, 0, 0);
    std::byte* writable = memory.place(4096, false, random);
    for (int i = 0; i < 200; ++i)
        writable = std::min(writable, memory.place(4096, false, random));
    CHECK(!memory.judge());
    *writable ^= std::byte{1};
    CHECK(memory.judge()->signature == "data/refused");
}

TEST_CASE("the pages of every other slot are taken, the others are left for their first use") {
    constexpr std::uint32_t slots = 6;
    constexpr std::uint32_t pages = 5;
    const long page = sysconf(_SC_PAGESIZE);
    const auto stride = static_cast<std::uint32_t>(pages * page);
    const at::SharedMemory memory("test-scatter", std::size_t{slots} * stride);
    at::Random random(7, 0, 0);
    at::scatter_pages(memory.start(), slots, stride, random);
    std::vector<unsigned char> there(slots * pages);
    REQUIRE(mincore(memory.start(), std::size_t{slots} * stride, there.data()) == 0);
    for (std::uint32_t i = 0; i < slots * pages; ++i)
        CHECK((there[i] & 1) == (i / pages) % 2);
}
