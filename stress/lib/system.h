// Small RAII wrappers of what the kernel hands out, and clocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <sys/types.h>

namespace at {

[[noreturn]] void throw_errno(const std::string& what);

class Fd {
public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd() { reset(); }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    void reset();

private:
    int fd_ = -1;
};

// Anonymous memory shared with the children that are forked while it exists, and held by this
// process: what the device writes into it after a child's death is still seen.
class SharedMemory {
public:
    SharedMemory() = default;
    SharedMemory(const char* name, std::size_t bytes);
    SharedMemory(SharedMemory&& other) noexcept { *this = std::move(other); }
    SharedMemory& operator=(SharedMemory&& other) noexcept {
        std::swap(start_, other.start_);
        std::swap(bytes_, other.bytes_);
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~SharedMemory();
    std::byte* start() const { return start_; }
    int fd() const { return fd_.get(); }
    std::size_t bytes() const { return bytes_; }

private:
    std::byte* start_ = nullptr;
    std::size_t bytes_ = 0;
    Fd fd_;
};

std::uint64_t monotonic_ns();
// The jiffy of CLOCK_MONOTONIC: no system call even where the clocksource cannot be read from
// user space (hpet and acpi_pm of a TCG guest), at 1 to 10 ms resolution.
std::uint64_t coarse_ns();

// All of a small file; nullopt when it cannot be opened or read.
std::optional<std::string> read_file(const std::string& path, std::size_t max_bytes = 1 << 20);
// From where an open file stands to its end.
std::optional<std::string> read_rest(int fd, std::size_t max_bytes = 1 << 20);
// The kernel's function in which a thread of this process sleeps (/proc/PID/task/TID/wchan,
// fs/proc/base.c, proc_pid_wchan()); "0": it does not.
std::string sleeps_in(pid_t thread);
// False with errno set when the file refuses.
bool write_file(const std::string& path, const std::string& text);

int online_cpus();

} // namespace at
