#include <catch2/catch.hpp>

#include <cstdlib>
#include <fstream>

#include <unistd.h>

#include "lib/memory_scan.h"

namespace {

// An ordinary file stands for the kernel's: what was asked of it stands at its beginning.
struct Report {
    char path[32] = "/tmp/at-scan-XXXXXX";
    explicit Report(const char* text) {
        close(mkstemp(path));
        add(text);
    }
    ~Report() { unlink(path); }
    void add(const char* text) const { std::ofstream(path, std::ios::app) << text; }
};

} // namespace

TEST_CASE("memory that nothing points to is told once") {
    const Report report("?????object A\n");
    std::chrono::milliseconds waited{0};
    at::MemoryScan scan(report.path, [&](auto time) {
        waited += time;
        report.add("object B\n");
    });
    REQUIRE(scan.offered());
    CHECK(scan.after_quiet() == "scan\nobject A\nobject B\n");
    CHECK(waited == at::MemoryScan::min_age);
    CHECK(scan.once_more().empty());
    report.add("object C\n");
    CHECK(scan.once_more() == "object C\n");
}

TEST_CASE("a kernel without kmemleak is asked nothing") {
    at::MemoryScan scan("/tmp/no-such-file", [](auto) { FAIL("waited"); });
    CHECK_FALSE(scan.offered());
    CHECK(scan.after_quiet().empty());
    CHECK(scan.once_more().empty());
}
