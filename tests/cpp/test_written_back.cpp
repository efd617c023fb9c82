// Memory of a file under write-back: what the process wrote survives that its pages are given away.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <unistd.h>

#include "lib/oracles/residue.h"
#include "lib/pattern.h"
#include "lib/system.h"
#include "lib/written_back.h"

namespace {

constexpr std::size_t page = 4096;

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
    const File file(6 * page);
    at::WrittenBack memory;
    std::string why;
    REQUIRE(memory.map(file.path, page, 4 * page, why));
    at::pattern_fill(1234, 0, memory.start(), 4 * page);
    memory.clean(0, 4 * page, false);
    memory.clean(page, page, true);
    CHECK(memory.drop(page, 2 * page).size() == 2); // not gone, where the file is memory itself
    CHECK(at::pattern_check(1234, 0, memory.start(), 4 * page) == at::pattern_matches);
}

TEST_CASE("a file that is not there, or too small, is said") {
    const File file(page);
    at::WrittenBack memory;
    std::string why;
    CHECK(!memory.map("/nowhere/at-all", 0, page, why));
    CHECK(why == "/nowhere/at-all: No such file or directory");
    CHECK(!memory.map(file.path, page, page, why));
    CHECK(why.find("too small") != std::string::npos);
    CHECK(!memory.start());
}

TEST_CASE("a page that was reported as read and still holds the fill did not arrive") {
    constexpr std::uint64_t fill = 77;
    constexpr std::size_t into = 100;
    std::vector<std::byte> memory(4 * page);
    at::pattern_fill(fill, 0, memory.data(), memory.size());
    at::pattern_fill(99, 0, memory.data() + into, 2 * page); // what the device wrote
    CHECK(!at::judge_arrived(fill, into, memory.data(), 2 * page));
    CHECK(!at::judge_arrived(fill, into, memory.data(), -5));
    CHECK(!at::judge_arrived(fill, into, memory.data(), 2 * page + 20)); // too little to tell
    const auto finding = at::judge_arrived(fill, into, memory.data(), 3 * page);
    REQUIRE(finding);
    CHECK(finding->signature == "data/not-arrived");
    CHECK(finding->evidence.at(0) == "page 4"); // the third holds the end of what was written
}

TEST_CASE("a page that reads otherwise once it was given away lost what the device wrote") {
    CHECK(!at::judge_given_away({}, {}));
    CHECK(!at::judge_given_away({1, 2, 3}, {1, 2, 3}));
    const auto finding = at::judge_given_away({1, 2, 3}, {1, 2, 4});
    REQUIRE(finding);
    CHECK(finding->signature == "data/lost-dirty");
    CHECK(finding->evidence.at(0) == "page 3 of 3");
}
