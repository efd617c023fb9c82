// A thread that sleeps in poll(2) now and then, for another to watch.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include <poll.h>
#include <sys/types.h>

namespace at {

class PollSleeper {
public:
    struct Seen {
        std::uint32_t number; // of this sleep
        int fd;
        short events;
        pid_t thread;
    };

    // Around the call.
    class Sleeping {
    public:
        Sleeping(PollSleeper& sleeper, const pollfd& polled);
        ~Sleeping();
        Sleeping(const Sleeping&) = delete;
        Sleeping& operator=(const Sleeping&) = delete;

    private:
        PollSleeper& sleeper_;
    };

    std::optional<Seen> seen() const;
    // Its thread sleeps: it was not woken.  One that waits for a CPU was (/proc/PID/task/TID/stat,
    // fs/proc/array.c, task_state_array).
    bool is_asleep(const Seen& seen) const;

private:
    std::atomic<std::uint32_t> number_{0}; // odd: it sleeps
    std::atomic<int> fd_{-1};
    std::atomic<short> events_{0};
    std::atomic<pid_t> thread_{0};
};

} // namespace at
