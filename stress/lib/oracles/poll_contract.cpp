#include "lib/oracles/poll_contract.h"

#include <cstdio>

#include <poll.h>

#include "lib/oracles/contract.h"

namespace at {

namespace {

// include/uapi/asm-generic/poll.h; not for user space.
constexpr std::int64_t pollfree = 0x4000;
constexpr std::int64_t always = POLLERR | POLLHUP;

Finding contract(const std::string& kind, const std::string& title, const PollAnswer& answer) {
    return {"contract",
            title,
            "contract/" + kind,
            {"asked " + poll_mask_name(answer.asked) + ", event carries " +
             poll_mask_name(answer.res) + ", the file can show " + poll_mask_name(answer.shows)}};
}

} // namespace

std::string poll_mask_name(std::int64_t mask) {
    static const struct {
        std::int64_t bit;
        const char* name;
    } bits[] = {{POLLIN, "POLLIN"},         {POLLPRI, "POLLPRI"},       {POLLOUT, "POLLOUT"},
                {POLLERR, "POLLERR"},       {POLLHUP, "POLLHUP"},       {POLLNVAL, "POLLNVAL"},
                {POLLRDNORM, "POLLRDNORM"}, {POLLRDBAND, "POLLRDBAND"}, {POLLWRNORM, "POLLWRNORM"},
                {POLLWRBAND, "POLLWRBAND"}, {POLLRDHUP, "POLLRDHUP"},   {pollfree, "POLLFREE"}};
    std::string text;
    for (const auto& [bit, name] : bits)
        if (mask & bit) {
            text += (text.empty() ? "" : "|") + std::string(name);
            mask &= ~bit;
        }
    if (mask || text.empty()) {
        char rest[32];
        std::snprintf(rest, sizeof rest, "0x%llx", static_cast<unsigned long long>(mask));
        text += (text.empty() ? "" : "|") + std::string(rest);
    }
    return text;
}

std::optional<Finding> judge_poll(const PollAnswer& answer, const std::string& kind) {
    if (answer.res2 != 0)
        return contract("res2", "event carries a res2 that is not 0", answer);
    if (answer.einprogress > 1)
        return contract("cancelled-twice", "two calls of io_cancel reached one request", answer);
    if (answer.res < 0)
        return contract("poll-errno",
                        "event of a poll carries " + errno_name(static_cast<int>(-answer.res)),
                        answer);
    if (answer.res & pollfree)
        return contract("poll-pollfree", "poll event carries the kernel's own bit POLLFREE",
                        answer);
    if (answer.res == 0) {
        if (answer.einprogress || answer.destroyed || answer.zero_allowed)
            return std::nullopt;
        return contract("poll-nothing", "poll event says nothing and nobody cancelled the request",
                        answer);
    }
    if (answer.res & ~answer.shows)
        return contract("poll-false/" + kind,
                        "poll event carries bits that the file never shows: " + kind, answer);
    if (answer.res & ~(answer.asked | always))
        return contract("poll-unasked/" + kind,
                        "poll event carries bits that were not asked for: " + kind, answer);
    if (answer.quiet)
        return contract("poll-quiet/" + kind, "poll event for a file that was never ready: " + kind,
                        answer);
    return std::nullopt;
}

} // namespace at
