#include "lib/system.h"

#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace at {

void throw_errno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void Fd::reset() {
    if (fd_ >= 0)
        ::close(std::exchange(fd_, -1));
}

SharedMemory::SharedMemory(const char* name, std::size_t bytes) : bytes_(bytes) {
    fd_ = Fd(memfd_create(name, MFD_CLOEXEC));
    if (!fd_ || ftruncate(fd_.get(), static_cast<off_t>(bytes)))
        throw_errno("memfd_create");
    void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (mapped == MAP_FAILED)
        throw_errno("mmap of shared memory");
    start_ = static_cast<std::byte*>(mapped);
}

SharedMemory::~SharedMemory() {
    if (start_)
        munmap(start_, bytes_);
}

namespace {

std::uint64_t clock_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000000000ULL +
           static_cast<std::uint64_t>(now.tv_nsec);
}

} // namespace

std::uint64_t monotonic_ns() {
    return clock_ns(CLOCK_MONOTONIC);
}
std::uint64_t coarse_ns() {
    return clock_ns(CLOCK_MONOTONIC_COARSE);
}

std::optional<std::string> read_file(const std::string& path, std::size_t max_bytes) {
    const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return fd ? read_rest(fd.get(), max_bytes) : std::nullopt;
}

std::optional<std::string> read_rest(int fd, std::size_t max_bytes) {
    std::string text;
    char chunk[16384];
    while (text.size() < max_bytes) {
        const ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return std::nullopt;
        if (got == 0)
            break;
        text.append(chunk, static_cast<std::size_t>(got));
    }
    return text;
}

std::string sleeps_in(pid_t thread) {
    return read_file("/proc/self/task/" + std::to_string(thread) + "/wchan").value_or("0");
}

bool write_file(const std::string& path, const std::string& text) {
    Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

int online_cpus() {
    return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

} // namespace at
