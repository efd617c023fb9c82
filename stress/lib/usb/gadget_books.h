// What the gadget stressor shows the supervisor beside the ledger.
#pragma once

#include <atomic>
#include <cstdint>

#include "lib/ledger.h"

namespace at {

struct GadgetSlotBook {
    std::atomic<std::uint32_t> disablings; // that had ended before the submit
    // io_cancel() was called while io_submit() had the request: it may have been taken off the
    // kioctx's list and refused (fs/aio.c, io_cancel()), and is then unknown to every later call.
    std::atomic<std::uint32_t> early_cancel;
};

struct GadgetBooks {
    // Times that endpoints were disabled on purpose: unbinds, resets, pulled cables, closes.
    std::atomic<std::uint32_t> disablings_begun;
    std::atomic<std::uint32_t> disablings_ended;
    std::atomic<std::uint32_t> final; // nothing is submitted any more, all that waits was ended
    GadgetSlotBook slots[max_slots];
};

} // namespace at
