#include "lib/futex.h"

#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace at {

namespace {

long futex(std::atomic<std::uint32_t>& word, int op, std::uint32_t value, const timespec* bound) {
    return syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, value, bound, nullptr, 0);
}

} // namespace

void wait_for_change(std::atomic<std::uint32_t>& word, std::uint32_t seen, std::uint64_t bound_ns) {
    const timespec bound{static_cast<time_t>(bound_ns / 1000000000),
                         static_cast<long>(bound_ns % 1000000000)};
    futex(word, FUTEX_WAIT, seen, &bound);
}

void wake(std::atomic<std::uint32_t>& word, int count) {
    futex(word, FUTEX_WAKE, static_cast<std::uint32_t>(count), nullptr);
}

} // namespace at
