// What window.cpp (who is placed, and on what) and window_racer.cpp (a thread's part in it) share.
#pragma once

#include <cstdint>

#include "lib/window.h"

namespace at::windows {

constexpr std::uint64_t us = 1000;
constexpr std::uint64_t ms = 1000000;

// The kernel writes beside us.
template <typename T> T load(const T& word) {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
template <typename T> void store(T& word, T value) {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

// The phase before it on a request's way, by which the next is expected; AT_NO_PHASE: only that the
// request was named.  From irq on all is one interrupt.  Behind a cancellation comes the wait for
// the device: long enough to see it.
constexpr std::uint32_t seen_before(std::uint32_t phase) {
    switch (phase) {
    case AT_PIN:
    case AT_MAP:
    case AT_QUEUE:
    case AT_START:
    case AT_IRQ:
        return phase - 1;
    case AT_COMPLETE:
    case AT_UNMAP:
    case AT_UNPIN:
    case AT_FREE:
        return AT_IRQ;
    case AT_CANCEL:
        return AT_CANCEL;
    default:
        return AT_NO_PHASE;
    }
}

} // namespace at::windows
