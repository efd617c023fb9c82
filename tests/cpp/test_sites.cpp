// What the injector tells of its sites, and the sums that a result carries.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include "lib/oracles/lost_update.h"
#include "lib/site_turns.h"

TEST_CASE("a line of the injector's sites is read whole, or not at all") {
    std::string name;
    at::SiteCount count;
    REQUIRE(at::parse_site_line("site=zcdma:zc_feed.part.0+0x212 passed=390 stretched=112 "
                                "waited_us=32165 missed=8 parted=51 lost=3",
                                name, count));
    CHECK(name == "zcdma:zc_feed.part.0+0x212");
    CHECK(count.error == 0);
    CHECK(count.passed == 390);
    CHECK(count.stretched == 112);
    CHECK(count.waited_us == 32165);
    CHECK(count.parted == 51);
    CHECK(count.lost == 3);
    CHECK(count.missed == 8);
    // of a module that has gone
    CHECK(at::parse_site_line(
        "site=a:b+0x1 passed=1 stretched=0 waited_us=0 missed=0 parted=0 lost=0 gone", name,
        count));
    REQUIRE(at::parse_site_line("site=a:b+0x3 error=84", name, count));
    CHECK(name == "a:b+0x3");
    CHECK(count.error == 84);
    CHECK(count.passed == 0);
    CHECK_FALSE(at::parse_site_line("site=a:b+0x3 passed=1", name, count));
    CHECK_FALSE(at::parse_site_line("", name, count));
}

TEST_CASE("where no sites were asked for, none is placed and none is told") {
    at::SiteTurns turns({}, {12, 0.5, std::chrono::milliseconds(1)});
    CHECK_FALSE(turns.any());
    turns.place();
    turns.remove();
    nlohmann::json counters = {{"submitted", 1}};
    CHECK(turns.told(counters).empty());
    CHECK(counters.size() == 1);
}

TEST_CASE("a site's address is that of its place in .text, or left to the kernel") {
    std::map<std::string, std::uint64_t> texts{{"zcdma", 0xffffffffc0241000}};
    CHECK(at::with_address("zcdma:zc_feed+0x12@0x345", texts) ==
          "zcdma:zc_feed+0x12@0xffffffffc0241345");
    CHECK(at::with_address("zcdma:zc_feed+0x12", texts) == "zcdma:zc_feed+0x12");
    texts["vmlinux"] = 0xffffffff81000000;
    CHECK(at::with_address("vmlinux:kill_ioctx+0x10@0x2040", texts) ==
          "vmlinux:kill_ioctx+0x10@0xffffffff81002040");
    CHECK(at::with_address("nomodule:f+0x12@0x345", texts) == "nomodule:f+0x12");
}

TEST_CASE("an update that was lost is told by its function, and where, by its evidence") {
    using at::SiteCount;
    CHECK(at::judge_lost_updates({{"zcdma:zc_alloc+0x154", SiteCount{0, 90, 40, 900, 0, 20, 0}}})
              .empty());
    const auto findings = at::judge_lost_updates({
        {"zcdma:zc_alloc+0x144", SiteCount{0, 90, 40, 900, 0, 20, 0}},
        {"zcdma:zc_feed.part.0+0xad", SiteCount{0, 90, 40, 900, 0, 20, 3}},
    });
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].oracle == "sanitizer");
    CHECK(findings[0].title == "an update was lost in zc_feed");
    CHECK(findings[0].signature == "sanitizer/lost-update/zc_feed");
    CHECK(findings[0].evidence[0].find("zcdma:zc_feed.part.0+0xad: of 20 passages") !=
          std::string::npos);
}
