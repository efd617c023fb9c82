// What the parts of the race share: race.cpp (threads, the stressor's main), race_contexts.cpp,
// race_submit.cpp, race_reap.cpp and race_cancel.cpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "lib/race.h"

namespace at {

constexpr std::uint32_t guard_bytes = 64;
constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t recent_kept = 1024; // submissions a canceller can look back on
constexpr std::uint64_t ms = 1000000;

constexpr std::uint32_t rounded(std::uint32_t value, std::uint32_t unit) {
    return (value + unit - 1) / unit * unit;
}

// What one submitter and the cancellers after it share.
struct Race::SubmitterState {
    std::atomic<std::uint32_t> answered{0}; // bumped when slots of it were answered; futex
    std::atomic<std::uint32_t> waiting{0};
    // The last submissions in order; relaxed: a canceller checks the slot itself.
    std::atomic<std::uint32_t> head{0};
    std::atomic<std::uint32_t> recent[recent_kept]{};
    std::vector<std::uint64_t> dwell_until; // of each own slot
};

class Race::Calling {
public:
    explicit Calling(Call call) {
        word_ += 256;
        // release/relaxed would do: the supervisor looks at it a hundred times a second.
        board_->call.store((word_ & ~std::uint64_t{255}) | static_cast<std::uint32_t>(call),
                           std::memory_order_release);
    }
    ~Calling() { board_->call.store(word_ & ~std::uint64_t{255}, std::memory_order_release); }
    Calling(const Calling&) = delete;
    Calling& operator=(const Calling&) = delete;

    static void attach(ThreadBoard& board, Role role) {
        board_ = &board;
        word_ = 0;
        board.tid.store(static_cast<std::uint32_t>(gettid()), std::memory_order_relaxed);
        board.role.store(role, std::memory_order_release);
    }
    static void detach() { board_->role.store(Role::none, std::memory_order_release); }

private:
    static thread_local ThreadBoard* board_;
    static thread_local std::uint64_t word_;
};

class Race::Inside {
public:
    explicit Inside(ContextSlot& context) : context_(context) {
        context_.users.fetch_add(1, std::memory_order_seq_cst);
        const ContextState state = context_.state.load(std::memory_order_seq_cst);
        usable_ = state == ContextState::live || state == ContextState::claimed ||
                  state == ContextState::dying;
    }
    ~Inside() { context_.users.fetch_sub(1, std::memory_order_seq_cst); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    explicit operator bool() const { return usable_; }
    io_context_t id() const {
        return reinterpret_cast<io_context_t>(context_.id.load(std::memory_order_relaxed));
    }

private:
    ContextSlot& context_;
    bool usable_;
};

} // namespace at
