#include "lib/oracles/gadget_contract.h"

#include <cerrno>

#include "lib/oracles/contract.h"

namespace at {

namespace {

Finding contract(const std::string& kind, const std::string& title) {
    return {"contract", title, "contract/" + kind, {}};
}

} // namespace

std::optional<Finding> judge_gadget(const GadgetAnswer& answer) {
    if (answer.res2 != 0)
        return contract("res2", "event carries a res2 that is not 0");
    if (answer.einprogress > 1)
        return contract("cancelled-twice", "two calls of io_cancel reached one request");
    if (answer.res > answer.length)
        return contract("overlong", "result is longer than the request");
    if (answer.res >= 0) {
        const bool ended = answer.einprogress || answer.destroyed || answer.disabled;
        if (!answer.is_read && answer.res < answer.length && !(answer.partial && ended))
            return contract("short", "a write on a bulk endpoint was answered short");
        if (answer.is_read && answer.res == 0)
            return contract("empty", "a read was answered with nothing, and the host sent no such");
        return std::nullopt;
    }
    switch (-answer.res) {
    case ECONNRESET:
        if (answer.einprogress || answer.destroyed)
            return std::nullopt;
        return contract("cancelled-by-nobody",
                        "event carries ECONNRESET and nobody cancelled the request");
    case ESHUTDOWN:
        if (answer.disabled)
            return std::nullopt;
        return contract("shutdown-by-nobody",
                        "event carries ESHUTDOWN and nobody disabled the endpoint");
    case EAGAIN:
        return std::nullopt;
    default: {
        const std::string name = errno_name(static_cast<int>(-answer.res));
        return contract("unexplained-" + name,
                        "event carries " + name + " and nothing explains it");
    }
    }
}

std::optional<Finding> judge_gadget_cancel(int answer, bool result_written, bool may_be_unbound) {
    if (may_be_unbound && answer == -ESHUTDOWN && !result_written)
        return std::nullopt;
    auto finding = judge_cancel_answer(answer, result_written);
    if (!finding && answer == -EALREADY)
        return contract("cancel-EALREADY", "io_cancel answered EALREADY");
    return finding;
}

} // namespace at
