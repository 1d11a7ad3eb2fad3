/* What a Cortex-M reads at reset: the stack, and where the program begins. newlib's start sets up the rest. */
#include <stdint.h>

extern uint32_t stack_top;
extern void _start(void);

static void reset(void)
{
    /* The floating point unit, which the compiler may use. */
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    __asm volatile("dsb\n isb");
    _start();
}

static void fault(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {&stack_top, {reset, fault, fault, fault, fault, fault}};
