// IOCB_CMD_POLL is the one request of an ordinary kernel that can be cancelled: what the contract
// oracle relies on is asked of the kernel that the tests run on.
#include <catch2/catch.hpp>

#include <cerrno>
#include <cstring>

#include <libaio.h>
#include <poll.h>
#include <unistd.h>

#include "lib/oracles/contract.h"

TEST_CASE("io_cancel of a poll request: EINPROGRESS, one event, then EINVAL") {
    io_context_t context = nullptr;
    if (io_setup(4, &context) != 0) {
        WARN("no AIO on this kernel: nothing was tested");
        return;
    }
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    iocb request;
    io_prep_poll(&request, ends[0], POLLIN);
    request.data = &ends;
    iocb* list[] = {&request};
    REQUIRE(io_submit(context, 1, list) == 1);
    io_event result;
    std::memset(&result, 0x5a, sizeof result);
    const int answer = io_cancel(context, &request, &result);
    CHECK(answer == -EINPROGRESS);
    CHECK(result.res == 0x5a5a5a5a5a5a5a5aUL);
    CHECK(!at::judge_cancel_answer(answer, false));
    io_event event;
    timespec bound{2, 0};
    REQUIRE(io_getevents(context, 1, 1, &event, &bound) == 1);
    CHECK(event.obj == &request);
    CHECK(event.data == &ends);
    CHECK(event.res2 == 0);
    CHECK(io_cancel(context, &request, &result) == -EINVAL);
    CHECK(io_destroy(context) == 0);
    CHECK(io_destroy(context) == -EINVAL);
    close(ends[0]);
    close(ends[1]);
}
