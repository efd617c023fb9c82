// What every racer shows of itself, whatever the target: the call it is in, and the context it is
// in.
#pragma once

#include <atomic>
#include <cstdint>

#include <libaio.h>
#include <unistd.h>

#include "lib/ledger.h"

namespace at {

// What is done around the one call that window control places (window.h).
class PlacedCall {
public:
    virtual void before_call() = 0; // waits for its moment
    virtual void after_call() = 0;

protected:
    ~PlacedCall() = default;
};

// Marks the thread's board for the length of a call, so that a call that never returns has a name.
class Calling {
public:
    explicit Calling(Call call) {
        if (placed_ && placed_call_ == call) {
            mine_ = placed_;
            mine_->before_call();
        }
        word_ += 256;
        // release/relaxed would do: the supervisor looks at it a hundred times a second.
        board_->call.store((word_ & ~std::uint64_t{255}) | static_cast<std::uint32_t>(call),
                           std::memory_order_release);
    }
    ~Calling() {
        if (mine_) {
            mine_->after_call();
            placed_ = nullptr; // one call for each try
        }
        board_->call.store(word_ & ~std::uint64_t{255}, std::memory_order_release);
    }
    Calling(const Calling&) = delete;
    Calling& operator=(const Calling&) = delete;

    static void attach(ThreadBoard& board, Role role) {
        board_ = &board;
        word_ = 0;
        board.tid.store(static_cast<std::uint32_t>(gettid()), std::memory_order_relaxed);
        board.role.store(role, std::memory_order_release);
    }
    // This thread's next call of that kind is the one that is placed; nullptr: none is.
    static void place(PlacedCall* placed, Call call) {
        placed_ = placed;
        placed_call_ = call;
    }
    static void detach() { board_->role.store(Role::none, std::memory_order_release); }

private:
    static inline thread_local ThreadBoard* board_ = nullptr;
    static inline thread_local std::uint64_t word_ = 0;
    static inline thread_local PlacedCall* placed_ = nullptr;
    static inline thread_local Call placed_call_ = Call::none;
    PlacedCall* mine_ = nullptr;
};

// Holds a slot: its request's iocb is not used for another one until the last holder has left.
class Holding {
public:
    explicit Holding(Slot& slot) : slot_(slot) {
        slot_.holders.fetch_add(1, std::memory_order_seq_cst);
    }
    ~Holding() { slot_.holders.fetch_sub(1, std::memory_order_seq_cst); }
    Holding(const Holding&) = delete;
    Holding& operator=(const Holding&) = delete;

private:
    Slot& slot_;
};

// Inside a context: its id stays what it is until the last racer has left.
class Inside {
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
