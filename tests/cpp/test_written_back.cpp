// Buffers in a file under write-back: what the process wrote survives that its pages are given
// away.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/oracles/residue.h"
#include "lib/pattern.h"
#include "lib/system.h"
#include "lib/written_back.h"

namespace {

constexpr std::uint32_t stride = 16384;
constexpr std::uint32_t slots = 4;

struct Memory {
    std::byte* start = static_cast<std::byte*>(
        mmap(nullptr, slots* stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ~Memory() { munmap(start, slots * stride); }
};

struct File {
    char path[40] = "/tmp/aiotorture-test-XXXXXX";
    explicit File(off_t bytes) {
        at::Fd fd(mkstemp(path));
        REQUIRE(fd);
        REQUIRE(ftruncate(fd.get(), bytes) == 0);
    }
    ~File() { unlink(path); }
};

} // namespace

TEST_CASE("what lies in a page is there again after the page was given away") {
    const Memory memory;
    const File file(slots * stride);
    at::WrittenBack buffers;
    std::string why;
    REQUIRE(buffers.create(file.path, memory.start, stride, {true, false, true, false}, why));
    CHECK(buffers.covers(0));
    CHECK(!buffers.covers(1));
    CHECK(buffers.covers(2));
    CHECK(!buffers.covers(4));
    std::byte* const buffer = memory.start + 2 * stride;
    CHECK(at::pattern_check(at::canary_of(2), 0, buffer, stride) == at::pattern_matches);
    at::pattern_fill(1234, 0, buffer + 100, 5000);
    CHECK(buffers.clean(2, 100, 5000, true));
    CHECK(buffers.clean_all(false));
    CHECK(buffers.clean_all(true));
    CHECK(buffers.drop(2, buffer, 100, 5000) <= 2); // none, where the file is in memory alone
    CHECK(at::pattern_check(1234, 0, buffer + 100, 5000) == at::pattern_matches);
    CHECK(at::pattern_check(at::canary_of(2), 5100, buffer + 5100, stride - 5100) ==
          at::pattern_matches);
}

TEST_CASE("a file that is not there, or too small, is said, and the buffers stay what they were") {
    const Memory memory;
    const File file(stride);
    at::WrittenBack buffers;
    std::string why;
    CHECK(!buffers.create("/nowhere/at-all", memory.start, stride, {true, true, false, true}, why));
    CHECK(why == "/nowhere/at-all: No such file or directory");
    CHECK(!buffers.create(file.path, memory.start, stride, {true, true, false, true}, why));
    CHECK(why.find("too small") != std::string::npos);
    CHECK(!buffers.covers(0));
    memory.start[0] = std::byte{1}; // still there
}
