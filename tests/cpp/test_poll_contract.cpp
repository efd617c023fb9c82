#include <catch2/catch.hpp>

#include <cerrno>
#include <poll.h>

#include "lib/oracles/poll_contract.h"

namespace {

struct Case {
    const char* what;
    at::PollAnswer answer;
    const char* signature; // empty: legal
};

at::PollAnswer answered(std::int64_t res, short asked = POLLIN) {
    at::PollAnswer answer;
    answer.res = res;
    answer.asked = asked;
    answer.shows = POLLIN | POLLRDNORM | POLLHUP;
    return answer;
}

at::PollAnswer with(at::PollAnswer answer, void (*change)(at::PollAnswer&)) {
    change(answer);
    return answer;
}

} // namespace

TEST_CASE("what a poll request may be answered") {
    const Case cases[] = {
        {"ready", answered(POLLIN), ""},
        {"hung up, though not asked for", answered(POLLHUP), ""},
        {"cancelled", with(answered(0), [](auto& a) { a.einprogress = 1; }), ""},
        {"cancelled, and ready first", with(answered(POLLIN), [](auto& a) { a.einprogress = 1; }),
         ""},
        {"its context destroyed", with(answered(0), [](auto& a) { a.destroyed = true; }), ""},
        {"its wait queue freed", with(answered(0), [](auto& a) { a.zero_allowed = true; }), ""},
        {"nothing, by nobody", answered(0), "contract/poll-nothing"},
        {"an errno", answered(-ECANCELED), "contract/poll-errno"},
        {"an internal bit", answered(POLLHUP | 0x4000), "contract/poll-pollfree"},
        {"more than was asked for", answered(POLLIN | POLLRDNORM), "contract/poll-unasked/pipe"},
        {"what the file never shows", answered(POLLIN | POLLPRI, POLLIN | POLLPRI),
         "contract/poll-false/pipe"},
        {"a file nobody touched", with(answered(POLLIN), [](auto& a) { a.quiet = true; }),
         "contract/poll-quiet/pipe"},
        {"cancelled twice", with(answered(0), [](auto& a) { a.einprogress = 2; }),
         "contract/cancelled-twice"},
        {"a second result", with(answered(POLLIN), [](auto& a) { a.res2 = 1; }), "contract/res2"},
    };
    for (const Case& each : cases) {
        INFO(each.what);
        const auto finding = at::judge_poll(each.answer, "pipe");
        CHECK((finding ? finding->signature : "") == each.signature);
    }
}

TEST_CASE("masks have names") {
    CHECK(at::poll_mask_name(0) == "0x0");
    CHECK(at::poll_mask_name(POLLIN | POLLHUP) == "POLLIN|POLLHUP");
    CHECK(at::poll_mask_name(POLLIN | 0x10000) == "POLLIN|0x10000");
}
