#include "lib/oracles/contract.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <poll.h>

namespace at {

namespace {

Finding contract(const std::string& kind, const std::string& title) {
    return {"contract", title, "contract/" + kind, {}};
}

int default_errno(const std::string& phase) {
    // fault/fail_injector.c, at_default_errno()
    if (phase == "submit")
        return EIO;
    if (phase == "pin")
        return EFAULT;
    return phase == "map" ? ENOMEM : EAGAIN;
}

std::optional<Finding> judge_errno(const Answer& answer, const Permitted& permitted) {
    const int error = static_cast<int>(-answer.res);
    if (std::find(permitted.errnos.begin(), permitted.errnos.end(), error) !=
        permitted.errnos.end())
        return std::nullopt;
    switch (error) {
    case ECANCELED:
        if (answer.is_sync)
            return contract("cancelled-sync", "a synchronous request was answered ECANCELED");
        if (answer.ealready)
            return contract("ealready-cancelled",
                            "event carries ECANCELED after io_cancel answered EALREADY");
        if (!answer.einprogress && !answer.destroyed)
            return contract("cancelled-by-nobody",
                            "event carries ECANCELED and nobody cancelled the request");
        return std::nullopt;
    case ETIMEDOUT:
        if (permitted.timeouts || answer.stalled)
            return std::nullopt;
        break;
    case EIO:
        if (permitted.corrupt)
            return std::nullopt;
        break;
    case ENODEV:
        if (permitted.removal)
            return std::nullopt;
        break;
    case EAGAIN:
        if (answer.nowait)
            return std::nullopt;
        break;
    case EFAULT:
        if (answer.bad)
            return std::nullopt;
        break;
    default:
        if (answer.at_device_end && answer.res == *answer.at_device_end)
            return std::nullopt;
    }
    return contract("unexplained-" + errno_name(error),
                    "event carries " + errno_name(error) + " and no fault explains it");
}

} // namespace

std::string errno_name(int error) {
    const char* name = strerrorname_np(error);
    return name ? name : "errno " + std::to_string(error);
}

Permitted permitted_by(const Plan& plan, const KnobValues& knobs) {
    Permitted permitted;
    permitted.cancels = knobs.text("cancel") != "none";
    permitted.corrupt = knobs.text("may_fail") == "EIO";
    const std::int64_t timeout_ns = knobs.integer("timeout_ms") * 1000000;
    for (const Fault& fault : plan.faults) {
        const std::string& action = fault.action;
        permitted.corrupt |= action == "corrupt";
        permitted.removal |= action == "remove";
        permitted.shorts |= action == "short";
        // irq drop, desc drop and stall, a lost state, and a stop acknowledged so late that the
        // driver resets: each may end in ETIMEDOUT.  A delay may when it is long; one without a
        // length is drawn by the injector, below 1 ms.
        permitted.timeouts |= action == "drop" || action == "stall" || action == "reset" ||
                              action == "remove" || action == "late";
        if (action == "delay")
            if (const auto delay = fault.key("delay"))
                permitted.timeouts |= parse_duration_ns(*delay) >= timeout_ns / 4;
        if (action == "nomem")
            permitted.errnos.push_back(ENOMEM);
        if (action == "fail") {
            const auto error = fault.key("err");
            permitted.errnos.push_back(error ? static_cast<int>(parse_unsigned(*error))
                                             : default_errno(fault.phase));
        }
    }
    return permitted;
}

static std::optional<Finding> judge_poll(const Answer& answer, const Permitted& permitted) {
    const auto gone = static_cast<std::int64_t>(permitted.removal ? POLLERR | POLLHUP : 0);
    // A wake-up answers with its whole key (fs/aio.c, aio_poll_wake()): a flag brings its twin.
    const auto twins = static_cast<std::int64_t>(
        (answer.poll_events & (POLLIN | POLLRDNORM) ? POLLIN | POLLRDNORM : 0) |
        (answer.poll_events & (POLLOUT | POLLWRNORM) ? POLLOUT | POLLWRNORM : 0));
    if (answer.res & ~(twins | gone))
        return contract("poll-mask", "a poll was answered with what it did not ask for");
    return std::nullopt;
}

std::int64_t whole_result(const Answer& answer) {
    return std::min(answer.at_device_end.value_or(answer.length), answer.limit);
}

std::optional<Finding> judge(const Answer& answer, const Permitted& permitted) {
    if (answer.res2 != 0)
        return contract("res2", "event carries a res2 that is not 0");
    if (answer.einprogress + answer.ealready > 1)
        return contract("cancelled-twice", "two calls of io_cancel reached one request");
    if (!permitted.cancels && answer.einprogress && answer.op != Op::poll)
        return contract("cancel-of-uncancellable",
                        "io_cancel answered EINPROGRESS for a request that cannot be cancelled");
    if (answer.res < 0)
        return judge_errno(answer, permitted);
    if (answer.op == Op::poll)
        return judge_poll(answer, permitted);
    if (answer.op != Op::transfer)
        return answer.res ? std::optional(contract("fsync", "fsync answered with a number"))
                          : std::nullopt;
    if (answer.bad)
        return contract("bad-buffer", "a request whose memory cannot be used was answered as done");
    if (answer.res > answer.length)
        return contract("overlong", "result is longer than the request");
    const std::int64_t whole = whole_result(answer);
    if (whole < 0)
        return contract("beyond-end", "a write at the end of the device was answered with bytes");
    if (answer.res > whole)
        return contract("beyond-end", "result reaches beyond the end of the device");
    if (answer.res < whole && !permitted.shorts)
        return contract("short", "a short result and no fault explains it");
    if (answer.res < whole && !answer.res)
        return contract("empty", "nothing was moved, and the request was answered as done");
    return std::nullopt;
}

std::optional<Finding> judge_shorts(std::uint64_t seen, std::uint64_t fired) {
    if (seen <= fired)
        return std::nullopt;
    auto finding = contract("shorts", "there are more short results than faults explain");
    finding.evidence.push_back(std::to_string(seen) + " short results, " + std::to_string(fired) +
                               " faults that make one");
    return finding;
}

std::optional<Finding> judge_cancel_answer(int answer, bool result_written) {
    if (result_written)
        return contract("cancel-wrote-result", "io_cancel wrote its result argument");
    if (answer == -EINPROGRESS || answer == -EINVAL || answer == -EALREADY)
        return std::nullopt;
    if (answer == 0)
        return contract("cancel-zero", "io_cancel answered 0");
    return contract("cancel-" + errno_name(-answer), "io_cancel answered " + errno_name(-answer));
}

} // namespace at
