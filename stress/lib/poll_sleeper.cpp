#include "lib/poll_sleeper.h"

#include <string>

#include <sys/syscall.h>
#include <unistd.h>

#include "lib/system.h"

namespace at {

PollSleeper::Sleeping::Sleeping(PollSleeper& sleeper, const pollfd& polled) : sleeper_(sleeper) {
    sleeper_.fd_.store(polled.fd, std::memory_order_relaxed);
    sleeper_.events_.store(polled.events, std::memory_order_relaxed);
    sleeper_.thread_.store(static_cast<pid_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
    sleeper_.number_.fetch_add(1, std::memory_order_release);
}

PollSleeper::Sleeping::~Sleeping() {
    sleeper_.number_.fetch_add(1, std::memory_order_release);
}

std::optional<PollSleeper::Seen> PollSleeper::seen() const {
    const std::uint32_t number = number_.load(std::memory_order_acquire);
    const Seen seen{number, fd_.load(std::memory_order_relaxed),
                    events_.load(std::memory_order_relaxed),
                    thread_.load(std::memory_order_relaxed)};
    if (number % 2 == 0 || number_.load(std::memory_order_acquire) != number)
        return std::nullopt;
    return seen;
}

bool PollSleeper::is_asleep(const Seen& seen) const {
    const auto stat = read_file("/proc/self/task/" + std::to_string(seen.thread) + "/stat");
    const auto name_end = stat ? stat->rfind(')') : std::string::npos;
    return name_end != std::string::npos && stat->compare(name_end, 3, ") S") == 0 &&
           number_.load(std::memory_order_acquire) == seen.number;
}

} // namespace at
