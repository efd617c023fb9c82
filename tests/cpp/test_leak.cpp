#include <catch2/catch.hpp>

#include "lib/oracles/gadget_leak.h"
#include "lib/oracles/leak.h"

namespace {

const char quiet[] = "submitted 10\ncompleted 10\ncompleted_ok 7\ncompleted_cancelled "
                     "3\ncompleted_timeout 0\ncompleted_short 0\nlive 0\n"
                     "ref_engine 0\nref_core 0\npinned_pages 0\nmapped_descs 0\nfree_descs 256\n"
                     "illegal_steps 0\n";

std::vector<std::string> signatures(const std::vector<at::Finding>& findings) {
    std::vector<std::string> all;
    for (const auto& finding : findings)
        all.push_back(finding.signature);
    return all;
}

} // namespace

TEST_CASE("quiet books are silent") {
    CHECK(at::judge_books(at::parse_books(quiet), 256, {}).empty());
}

TEST_CASE("pages that a device uses are pinned") {
    CHECK_FALSE(at::judge_unpinned(100, 200));
    CHECK_FALSE(at::judge_unpinned(0, 0));
    CHECK(at::judge_unpinned(0, 1)->signature == "contract/unpinned");
    CHECK(at::judge_unpinned(99, 200)->signature == "contract/unpinned");
}

TEST_CASE("each thing that was not given back has its own title") {
    auto books = at::parse_books(quiet);
    books["ref_engine"] = 1;
    books["pinned_pages"] = 4;
    books["mapped_descs"] = 1;
    books["free_descs"] = 255;
    books["live"] = 1;
    books["completed"] = 9;
    const auto requests = at::parse_requests("cookie=0x1001 phase=queue refs=engine age_us=5");
    CHECK(signatures(at::judge_books(books, 256, requests)) ==
          std::vector<std::string>{"leak/live/queue/engine", "leak/reference/engine", "leak/pinned",
                                   "leak/mapped", "leak/descriptors", "ledger/books-fewer"});
}

TEST_CASE("every holder's reference has a name, and so have the other books") {
    for (const char* holder : {"submit", "engine", "cancel", "timeout", "core"}) {
        auto books = at::parse_books(quiet);
        books[std::string("ref_") + holder] = 1;
        CHECK(signatures(at::judge_books(books, 256, {})) ==
              std::vector<std::string>{std::string("leak/reference/") + holder});
    }
    auto books = at::parse_books(quiet);
    books["live"] = 1;
    books["illegal_steps"] = 2;
    books["completed"] = 11;
    CHECK(signatures(at::judge_books(books, 256, {})) ==
          std::vector<std::string>{"leak/live", "contract/illegal-step", "ledger/books-more"});
}

TEST_CASE("each completion is booked as one of a kind") {
    auto books = at::parse_books(quiet);
    books["completed_ok"] = 6;
    CHECK(signatures(at::judge_books(books, 256, {})) ==
          std::vector<std::string>{"ledger/books-kinds"});
}

TEST_CASE("each of the system's books has its own title") {
    for (const char* book :
         {"aio-nr", "pinned pages", "bounce slots", "slab kioctx", "slab aio_kiocb"})
        CHECK(signatures(at::judge_system({{book, 1}}, {{book, 2}})) ==
              std::vector<std::string>{std::string("leak/") + book});
}

TEST_CASE("the system's books may fall, not rise") {
    const at::SystemBooks before{{"aio-nr", 100}, {"pinned pages", 3}};
    CHECK(at::judge_system(before, {{"aio-nr", 90}, {"pinned pages", 3}, {"slab kioctx", 5}})
              .empty());
    CHECK(signatures(at::judge_system(before, {{"aio-nr", 100}, {"pinned pages", 4}})) ==
          std::vector<std::string>{"leak/pinned pages"});
}

TEST_CASE("events and books agree within what a destroyed ring hides") {
    const auto books = at::parse_books(quiet);
    CHECK(at::judge_totals(books, {.cancelled = 3}).empty());
    CHECK(at::judge_totals(books, {.cancelled = 1, .unseen = 2}).empty());
    CHECK(signatures(at::judge_totals(books, {.cancelled = 2})) ==
          std::vector<std::string>{"ledger/disagree/cancelled"});
    CHECK(signatures(at::judge_totals(books, {.cancelled = 4, .unseen = 5})) ==
          std::vector<std::string>{"ledger/disagree/cancelled"});
    // others move bytes too
    const at::LedgerTotals more{.cancelled = 3, .whole = 1 << 30, .shorts = 1 << 30};
    CHECK(signatures(at::judge_totals(books, more)) ==
          std::vector<std::string>{"ledger/disagree/ok", "ledger/disagree/short"});
}

TEST_CASE("a request before its answer has outlived its process, the tail of one has not") {
    const auto requests =
        at::parse_requests("cookie=0x1 slot=1 gen=1 phase=unpin refs=timeout age_us=3\n"
                           "cookie=0x2 slot=2 gen=1 phase=cancel refs=engine,cancel age_us=9\n");
    REQUIRE(requests.size() == 2);
    CHECK(at::judge_survivors({requests[0]}).empty());
    const auto findings = at::judge_survivors(requests);
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].signature == "leak/survivor/cancel");
}

TEST_CASE("a request whose event was seen is given back before any time-out") {
    const auto requests =
        at::parse_requests("cookie=0x1003 slot=3 gen=1 phase=unmap refs=timeout age_us=90000\n");
    CHECK(!at::judge_kept(requests[0], at::kept_ns));
    CHECK(at::judge_kept(requests[0], at::kept_ns + 1)->signature == "leak/kept/unmap/timeout");
    CHECK(!at::judge_kept(requests[0], at::kept_in_race_ns, at::kept_in_race_ns));
    CHECK(at::judge_kept(requests[0], at::kept_in_race_ns + 1, at::kept_in_race_ns));
}

TEST_CASE("what is left by the last close of a file is named by where it stands") {
    const auto requests =
        at::parse_requests("cookie=0x1 slot=1 gen=1 phase=unpin refs=- age_us=3 sync=1 pid=7\n");
    CHECK(at::left_by_close(requests.at(0)).signature == "leak/after-close/unpin/");
}

TEST_CASE("what is left by a killed process is named by where it stands") {
    const auto requests = at::parse_requests(
        "cookie=0x1 slot=1 gen=1 phase=queue refs=engine,cancel age_us=3 sync=1 pid=7\n");
    CHECK(at::left_by_death(requests.at(0)).signature == "leak/after-death/queue/engine+cancel");
}

TEST_CASE("a module that nothing uses can be unloaded") {
    CHECK(!at::judge_unload(true, "zcdma", ""));
    CHECK(at::judge_unload(false, "zcdma", "busy")->signature == "leak/module/zcdma");
    CHECK(at::judge_load_after_failure("zcdma", "exists").signature == "leak/module-load/zcdma");
}

TEST_CASE("the mm of most processes that are gone is gone with them") {
    CHECK(!at::judge_mm_count(100, 104, 8));
    CHECK(at::judge_mm_count(100, 105, 8)->signature == "leak/mm_struct");
}
