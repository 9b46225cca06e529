// A whole board in simulation, its UART behind a pseudo-terminal: the host's real driver opens it like any other port.
//
// The model is Verilator's (prefix Vboard) of a top with ports clk, uart_rx, uart_tx and perhaps a reset.
// Compile-time: DIVISOR (clocks per bit), IDLE_CLOCKS (clocks without traffic after which simulated time stands still
// until the host writes), RESET and RESET_LEVEL (name of the reset port and the level that resets).
// The first line on stdout is the terminal's path. The program ends when its stdin closes, so it cannot outlive the
// program that started it. SIGUSR1 presses the reset; SIGUSR2 breaks the stop bit of the next byte to the board.

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "Vboard.h"
#include "verilated.h"

namespace {

volatile std::sig_atomic_t reset_wanted = 0;
volatile std::sig_atomic_t break_wanted = 0;

void on_signal(int number) { (number == SIGUSR1 ? reset_wanted : break_wanted) = 1; }

[[noreturn]] void fail(const char* what) {
    std::perror(what);
    std::exit(1);
}

// Host to board: the line's level in every clock. One start bit, eight data bits, one stop bit, bytes without a gap.
struct Sender {
    std::deque<uint8_t> bytes;
    uint32_t bits = 0;
    int left = 0;
    int timer = 0;

    bool busy() const { return left != 0 || !bytes.empty(); }

    bool level() {
        if (left == 0) {
            if (bytes.empty()) return true;
            bits = (bytes.front() << 1) | (break_wanted ? 0 : 0x200);
            break_wanted = 0;
            bytes.pop_front();
            left = 10;
            timer = DIVISOR;
        }
        const bool now = bits & 1;
        if (--timer == 0) {
            bits >>= 1;
            timer = DIVISOR;
            --left;
        }
        return now;
    }
};

// Board to host: samples each bit in its middle.
struct Receiver {
    int left = 0;
    int timer = 0;
    uint8_t shift = 0;

    bool busy() const { return left != 0; }

    // True when a byte is complete in `shift`.
    bool sample(bool line) {
        if (left == 0) {
            if (!line) {
                left = 10;
                timer = DIVISOR / 2;
            }
            return false;
        }
        if (--timer > 0) return false;
        timer = DIVISOR;
        --left;
        if (left == 9) {
            if (line) left = 0;  // a glitch, not a start bit
            return false;
        }
        if (left > 0) shift = (shift >> 1) | (line ? 0x80 : 0);
        return left == 0 && line;
    }
};

int open_terminal() {
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) fail("pseudo-terminal");
    const char* name = ptsname(master);
    // Held open here too: without it the host's closing the port would look like an error on the master.
    const int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    termios settings;
    if (slave < 0 || tcgetattr(slave, &settings) != 0) fail(name);
    cfmakeraw(&settings);
    if (tcsetattr(slave, TCSANOW, &settings) != 0) fail(name);
    if (fcntl(master, F_SETFL, O_NONBLOCK) != 0) fail(name);
    std::printf("%s\n", name);
    std::fflush(stdout);
    return master;
}

}  // namespace

int main(int argc, char** argv) {
    VerilatedContext context;
    context.commandArgs(argc, argv);
    Vboard board{&context};
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, nullptr);
    sigaction(SIGUSR2, &action, nullptr);

    Sender sender;
    Receiver receiver;
    std::deque<uint8_t> outbox;
    int reset_left = 16;
    int64_t quiet = 0;
    // 256 clocks; false when the design called $finish.
    const auto run = [&] {
        for (int i = 0; i < 256; ++i) {
#ifdef RESET
            board.RESET = reset_left > 0 ? RESET_LEVEL : !RESET_LEVEL;
#endif
            if (reset_left > 0) --reset_left;
            board.uart_rx = sender.level();
            board.clk = 0;
            board.eval();
            board.clk = 1;
            board.eval();
            const bool complete = receiver.sample(board.uart_tx);
            quiet = sender.busy() || receiver.busy() ? 0 : quiet + 1;
            // A terminal that nobody reads fills up; what nobody reads for long is lost, as on a UART.
            if (complete && outbox.size() < 65536) outbox.push_back(receiver.shift);
        }
        return !context.gotFinish();
    };

    // The terminal appears when the board is through its power-on reset: before that it would lose what it is sent.
    for (int i = 0; i < 16; ++i) {
        if (!run()) return 0;
    }
    outbox.clear();
    const int master = open_terminal();
    for (;;) {
        // Look outside once in 256 clocks; when nothing has moved for long, sleep until something does.
        const short wanted = outbox.empty() ? POLLIN : POLLIN | POLLOUT;
        pollfd watched[2] = {{STDIN_FILENO, POLLIN, 0}, {master, wanted, 0}};
        const int ready = poll(watched, 2, quiet < IDLE_CLOCKS ? 0 : -1);
        if (ready < 0 && errno != EINTR) fail("poll");
        if (ready != 0 || reset_wanted) quiet = 0;
        if (ready > 0 && watched[0].revents != 0) {
            char ignored[64];
            if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0) return 0;
        }
        if (ready > 0 && (watched[1].revents & POLLIN) && sender.bytes.size() < 256) {
            uint8_t buffer[256];
            const ssize_t got = read(master, buffer, sizeof buffer);
            if (got > 0) sender.bytes.insert(sender.bytes.end(), buffer, buffer + got);
        }
        while (!outbox.empty() && write(master, &outbox.front(), 1) == 1) outbox.pop_front();
        if (reset_wanted) {
            reset_wanted = 0;
            reset_left = 16;
        }
        if (!run()) return 0;
    }
}
