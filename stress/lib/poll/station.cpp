#include "lib/poll/station.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#include "lib/knobs.h"

namespace at {

namespace {

constexpr int pipe_bytes = 4096;
constexpr std::uint64_t eventfd_full = 0xfffffffffffffffeULL;

constexpr short in = POLLIN | POLLRDNORM;
constexpr short out = POLLOUT | POLLWRNORM | POLLWRBAND;

// What ->poll() of each file can say: fs/pipe.c, fs/eventfd.c, net/unix/af_unix.c, fs/timerfd.c,
// fs/eventpoll.c, fs/notify/inotify/inotify_user.c, drivers/tty/n_tty.c, fs/signalfd.c.
constexpr KindRules rules[] = {
    {POLLIN, in | POLLHUP, true, false, false, false, false},                // pipe_read
    {POLLOUT, out | POLLERR, true, false, false, false, false},              // pipe_write
    {POLLIN, POLLIN | POLLOUT | POLLERR, false, false, false, false, false}, // eventfd_read
    {POLLIN, in | out | POLLHUP | POLLRDHUP | POLLERR, true, false, false, false, false},
    {POLLIN, POLLIN, false, false, false, false, false},                      // timerfd
    {POLLIN, in, false, false, false, false, false},                          // epoll
    {POLLIN, in, false, false, true, false, false},                           // inotify
    {POLLOUT, POLLIN | POLLOUT | POLLERR, false, false, false, false, false}, // eventfd_write
    {POLLIN, in | out | POLLHUP | POLLRDHUP | POLLERR, false, false, false, false, false},
    {POLLIN, in | out | POLLHUP | POLLPRI | POLLERR, true, true, true, false, false}, // pty
    {POLLIN, POLLIN, false, false, true, false, true},                                // signalfd
    {POLLIN, POLLIN | POLLHUP, false, false, true, true, true}, // signalfd_foreign
};
static_assert(std::size(rules) == static_cast<std::size_t>(FileKind::count));

const char* const names[] = {"pipe_read",    "pipe_write", "eventfd_read", "socket_stream",
                             "timerfd",      "epoll",      "inotify",      "eventfd_write",
                             "socket_dgram", "pty",        "signalfd",     "signalfd_foreign"};
static_assert(std::size(names) == static_cast<std::size_t>(FileKind::count));

Fd opened(int fd, const char* what) {
    if (fd < 0)
        throw_errno(what);
    return Fd(fd);
}

void add_to_eventfd(int fd, std::uint64_t value) {
    [[maybe_unused]] const ssize_t put = write(fd, &value, sizeof value);
}

void read_all(int fd) {
    char bytes[pipe_bytes];
    while (read(fd, bytes, sizeof bytes) > 0) {
    }
}

void write_all(int fd) {
    static const char bytes[pipe_bytes] = {};
    while (write(fd, bytes, sizeof bytes) > 0) {
    }
    while (write(fd, bytes, 1) > 0) {
    }
}

} // namespace

const char* kind_name(FileKind kind) {
    return kind < FileKind::count ? names[static_cast<std::uint32_t>(kind)] : "?";
}

const KindRules& rules_of(FileKind kind) {
    return rules[static_cast<std::uint32_t>(kind)];
}

std::vector<FileKind> kinds_named(const std::string& words) {
    std::vector<FileKind> kinds;
    if (words == "all" || words == "peers") {
        for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(FileKind::count); ++i)
            if (words == "all" || (rules[i].peer && !rules[i].many_queues))
                kinds.push_back(static_cast<FileKind>(i));
        return kinds;
    }
    for (std::uint32_t i = 0; i < static_cast<std::uint32_t>(FileKind::count); ++i)
        if (words == names[i])
            return {static_cast<FileKind>(i)};
    throw PlanError("no kind of file is called '" + words + "'");
}

Station::Station(FileKind kind, int signal) : kind_(kind), signal_(signal), filled_(false) {
    int pair[2];
    switch (kind) {
    case FileKind::pipe_read:
    case FileKind::pipe_write:
        if (pipe2(pair, O_CLOEXEC | O_NONBLOCK))
            throw_errno("pipe2");
        fcntl(pair[1], F_SETPIPE_SZ, pipe_bytes);
        polled_ = Fd(pair[kind == FileKind::pipe_write]);
        peer_ = Fd(pair[kind == FileKind::pipe_read]);
        break;
    case FileKind::eventfd_read:
    case FileKind::eventfd_write:
        polled_ = opened(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
        break;
    case FileKind::socket_stream:
    case FileKind::socket_dgram:
        if (socketpair(AF_UNIX,
                       (kind == FileKind::socket_stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC |
                           SOCK_NONBLOCK,
                       0, pair))
            throw_errno("socketpair");
        polled_ = Fd(pair[0]);
        peer_ = Fd(pair[1]);
        break;
    case FileKind::timerfd:
        polled_ =
            opened(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create");
        break;
    case FileKind::epoll: {
        polled_ = opened(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        peer_ = opened(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
        epoll_event event{};
        event.events = EPOLLIN;
        if (epoll_ctl(polled_.get(), EPOLL_CTL_ADD, peer_.get(), &event))
            throw_errno("epoll_ctl");
        break;
    }
    case FileKind::inotify: {
        polled_ = opened(inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "inotify_init1");
        peer_ = opened(memfd_create("aiotorture-watched", MFD_CLOEXEC), "memfd_create");
        const std::string path = "/proc/self/fd/" + std::to_string(peer_.get());
        if (inotify_add_watch(polled_.get(), path.c_str(), IN_ATTRIB) < 0)
            throw_errno("inotify_add_watch");
        break;
    }
    case FileKind::pty: {
        peer_ = opened(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), "posix_openpt");
        char name[64];
        if (grantpt(peer_.get()) || unlockpt(peer_.get()) ||
            ptsname_r(peer_.get(), name, sizeof name))
            throw_errno("a pseudo terminal");
        polled_ = opened(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), "open of a pty");
        termios settings{};
        tcgetattr(polled_.get(), &settings);
        cfmakeraw(&settings);
        tcsetattr(polled_.get(), TCSANOW, &settings);
        break;
    }
    case FileKind::signalfd:
    case FileKind::signalfd_foreign: {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, signal_);
        polled_ = opened(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
        break;
    }
    case FileKind::count:
        break;
    }
    keeper_ = opened(fcntl(polled_.get(), F_DUPFD_CLOEXEC, 0), "dup");
    if (kind == FileKind::pipe_write || kind == FileKind::eventfd_write)
        drain();
}

int Station::handle() const {
    return keeper_ ? keeper_.get() : polled_.get();
}

void Station::ready(std::uint32_t delay_ns) {
    switch (kind_) {
    case FileKind::pipe_read:
    case FileKind::socket_stream:
    case FileKind::socket_dgram:
    case FileKind::pty: {
        const char byte = 'x';
        [[maybe_unused]] const ssize_t put = write(peer_.get(), &byte, 1);
        break;
    }
    case FileKind::pipe_write:
        read_all(peer_.get());
        break;
    case FileKind::eventfd_read:
        add_to_eventfd(handle(), 1);
        break;
    case FileKind::eventfd_write:
        read_all(handle());
        break;
    case FileKind::timerfd: {
        const itimerspec when{{0, 0}, {0, static_cast<long>(delay_ns % 1000000000 + 1)}};
        timerfd_settime(handle(), 0, &when, nullptr);
        break;
    }
    case FileKind::epoll:
        add_to_eventfd(peer_.get(), 1);
        break;
    case FileKind::inotify:
        filled_ = !filled_; // an event that equals the last one in the queue is merged with it
        fchmod(peer_.get(), filled_ ? 0600 : 0400);
        break;
    case FileKind::signalfd:
    case FileKind::signalfd_foreign:
        if (!is_ready())
            kill(getpid(), signal_);
        break;
    case FileKind::count:
        break;
    }
}

void Station::drain() {
    switch (kind_) {
    case FileKind::pipe_write:
        write_all(handle());
        break;
    case FileKind::eventfd_write: {
        read_all(handle());
        add_to_eventfd(handle(), eventfd_full);
        break;
    }
    case FileKind::epoll:
        read_all(peer_.get());
        break;
    case FileKind::timerfd: {
        const itimerspec never{};
        timerfd_settime(handle(), 0, &never, nullptr);
        break;
    }
    default:
        read_all(handle());
    }
}

bool Station::is_ready() const {
    pollfd look{handle(), rules_of(kind_).interest, 0};
    return poll(&look, 1, 0) == 1 && (look.revents & rules_of(kind_).interest);
}

void Station::hang_up() {
    peer_.reset();
}

void Station::bury(int grave) {
    dup3(grave, polled_.get(), O_CLOEXEC);
}

void Station::let_go() {
    polled_.reset();
    keeper_.reset();
}

bool Station::released(std::chrono::milliseconds bound) {
    if (!rules_of(kind_).peer || !peer_)
        return true;
    // The last fput() may be left to a task's or a kthread's later work.
    pollfd look{peer_.get(), 0, 0};
    return poll(&look, 1, static_cast<int>(bound.count())) == 1;
}

} // namespace at
