// Files to poll, each with whoever makes it ready: a station.
//
//   ready      something wakes the file's wait queue, and it stays ready until it is drained
//   drain      takes that away again
//   hang up    closes the other end for good
//   bury       takes the polled descriptor away from under its submitters; the file lives on as
//              long as its requests do
//
// A station knows nothing of requests.  One thread owns it (the tender); submitters use fd() alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <poll.h>

#include "lib/system.h"

namespace at {

enum class FileKind : std::uint32_t {
    pipe_read,
    pipe_write,
    eventfd_read,
    socket_stream,
    timerfd,
    epoll,
    inotify,
    eventfd_write,
    socket_dgram,
    pty,
    signalfd,
    signalfd_foreign, // polled by a process that shares our mm and has its own signal handlers
    count
};
const char* kind_name(FileKind kind);
// Every name, in order; what the knob `files_of` may name.
std::vector<FileKind> kinds_named(const std::string& words); // throws PlanError

struct KindRules {
    short interest;       // what makes `ready` visible
    short shows;          // all that ->poll() of this file can say while the other end is there
    bool peer;            // the other end sees when the file is released
    bool many_queues;     // ->poll() waits on more than one queue, which aio refuses (aio_poll())
    bool waker_plain;     // woken without a mask, so completed by aio_poll_complete_work()
    bool sighand_dies;    // its wait queue may be freed under the request (POLLFREE)
    bool signals_by_work; // ->poll() looks at current, which is a kworker when aio asks again
};
const KindRules& rules_of(FileKind kind);

class Station {
public:
    // Throws std::system_error when the kernel refuses; `signal` is the one of a signalfd.
    Station(FileKind kind, int signal);
    Station(const Station&) = delete;
    Station& operator=(const Station&) = delete;

    FileKind kind() const { return kind_; }
    int fd() const { return polled_.get(); }
    void ready(std::uint32_t delay_ns); // the delay is a timerfd's
    void drain();
    // poll(2) now, with the interest of the kind and through the station's own handle.
    bool is_ready() const;
    void hang_up();

    // Replaces the polled descriptor by `grave`, in one step: who is in io_submit() with it gets
    // the one file or the other, and the number stays taken.
    void bury(int grave);
    // Closes the polled descriptor and every handle of ours to its file; only requests hold it now.
    void let_go();
    // Whether the other end sees the file released, within `bound`; true when there is no peer.
    bool released(std::chrono::milliseconds bound);

private:
    int handle() const; // to the polled file, whether it was buried or not

    const FileKind kind_;
    const int signal_;
    Fd polled_;
    Fd keeper_;   // a second descriptor of the polled file
    Fd peer_;     // the other end, the inner file of an epoll, the file that inotify watches
    bool filled_; // pipe_write, eventfd_write
};

} // namespace at
