#include "lib/bounded.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/system.h"

namespace at {

namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
    Fd read_end;
    Fd write_end;
    Pipe() {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC))
            throw_errno("pipe2");
        read_end = Fd(ends[0]);
        write_end = Fd(ends[1]);
    }
};

int remaining_ms(Clock::time_point until) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    return static_cast<int>(std::max<std::int64_t>(0, left.count() + 1));
}

// Reads both ends until they close; false when `until` came first.
bool drain(Fd& first, std::string& first_text, Fd* second, std::string* second_text,
           std::size_t max_bytes, Clock::time_point until) {
    while (first || (second && *second)) {
        pollfd polled[2] = {{first.get(), POLLIN, 0}, {second ? second->get() : -1, POLLIN, 0}};
        const int ready = ::poll(polled, 2, remaining_ms(until));
        if (ready == 0)
            return false;
        for (int i = 0; i < 2; ++i) {
            if (!(polled[i].revents & (POLLIN | POLLHUP | POLLERR)))
                continue;
            Fd& fd = i ? *second : first;
            std::string& text = i ? *second_text : first_text;
            char chunk[65536];
            const ssize_t got = read(fd.get(), chunk, sizeof chunk);
            if (got > 0 && text.size() < max_bytes)
                text.append(chunk,
                            std::min(static_cast<std::size_t>(got), max_bytes - text.size()));
            else if (got == 0 || (got < 0 && errno != EINTR))
                fd.reset();
        }
    }
    return true;
}

// Waits for the child's end; false when it is still there at `until`.
bool reap(pid_t child, int& wait_status, Clock::time_point until) {
    for (;;) {
        const pid_t got = waitpid(child, &wait_status, WNOHANG);
        if (got == child || (got < 0 && errno != EINTR))
            return true;
        if (Clock::now() >= until)
            return false;
        ::poll(nullptr, 0, 1);
    }
}

void kill_and_forget(pid_t child, bool group) {
    ::kill(group ? -child : child, SIGKILL);
    int ignored = 0;
    // Half a second to die: an ordinary child does at once, a blocked one is left to init.
    reap(child, ignored, Clock::now() + std::chrono::milliseconds(500));
}

} // namespace

BoundedAnswer bounded_call(std::chrono::milliseconds bound,
                           const std::function<int(std::string& text)>& call) {
    const auto until = Clock::now() + bound;
    Pipe pipe;
    const pid_t child = fork();
    if (child < 0)
        throw_errno("fork");
    if (child == 0) {
        std::string text(sizeof(int), '\0');
        std::string body;
        const int status = call(body);
        std::memcpy(text.data(), &status, sizeof status);
        text += body;
        std::size_t written = 0;
        while (written < text.size()) {
            const ssize_t put =
                write(pipe.write_end.get(), text.data() + written, text.size() - written);
            if (put <= 0)
                break;
            written += static_cast<std::size_t>(put);
        }
        _exit(0);
    }
    pipe.write_end.reset();
    BoundedAnswer answer;
    std::string text;
    answer.in_time = drain(pipe.read_end, text, nullptr, nullptr, std::size_t{64} << 20, until) &&
                     text.size() >= sizeof(int);
    if (answer.in_time) {
        std::memcpy(&answer.status, text.data(), sizeof(int));
        answer.text = text.substr(sizeof(int));
    }
    kill_and_forget(child, false);
    return answer;
}

BoundedAnswer bounded_read(const std::string& path, std::chrono::milliseconds bound,
                           std::size_t max_bytes) {
    return bounded_call(bound, [&](std::string& text) {
        errno = 0;
        auto content = read_file(path, max_bytes);
        if (!content)
            return -errno;
        text = std::move(*content);
        return 0;
    });
}

BoundedAnswer bounded_write(const std::string& path, const std::string& text,
                            std::chrono::milliseconds bound) {
    return bounded_call(bound, [&](std::string&) { return write_file(path, text) ? 0 : -errno; });
}

ExecAnswer bounded_exec(const std::vector<std::string>& argv,
                        const std::vector<std::string>& environment,
                        std::chrono::milliseconds bound, std::size_t max_bytes) {
    const auto until = Clock::now() + bound;
    Pipe out;
    Pipe err;
    const pid_t child = fork();
    if (child < 0)
        throw_errno("fork");
    if (child == 0) {
        setpgid(0, 0);
        const int nothing = open("/dev/null", O_RDONLY);
        dup2(nothing, 0);
        dup2(out.write_end.get(), 1);
        dup2(err.write_end.get(), 2);
        std::vector<char*> arguments;
        for (const std::string& argument : argv)
            arguments.push_back(const_cast<char*>(argument.c_str()));
        arguments.push_back(nullptr);
        for (const std::string& variable : environment)
            putenv(const_cast<char*>(variable.c_str()));
        execvp(arguments[0], arguments.data());
        dprintf(2, "%s: %s\n", arguments[0], strerror(errno));
        _exit(127);
    }
    out.write_end.reset();
    err.write_end.reset();
    ExecAnswer answer;
    int wait_status = 0;
    const bool drained =
        drain(out.read_end, answer.out, &err.read_end, &answer.err, max_bytes, until);
    if (!drained || !reap(child, wait_status, until)) {
        answer.timed_out = true;
        kill_and_forget(child, true);
    } else {
        answer.status =
            WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    }
    return answer;
}

} // namespace at
