@ A sum times a multiplier for Armv6-M, which has no long product: the high word of \sum * (2^16 \high + \low) + 2^31, by halves, with
@ the proof of `quant::requantize_by_halves`. \sum becomes it; \a to \d are low registers that are free.
.macro BN_SCALE sum, low, high, a, b, c, d
        uxth    \a, \sum
        asrs    \sum, \sum, #16
        mov     \b, \low
        mov     \c, \a
        muls    \c, \b, \c
        lsrs    \c, \c, #16
        movs    \d, #1
        lsls    \d, \d, #15
        adds    \c, \c, \d
        muls    \b, \sum, \b
        adds    \b, \b, \c                      @ the middle
        mov     \c, \high
        muls    \a, \c, \a
        muls    \sum, \c, \sum
        asrs    \c, \b, #16
        adds    \sum, \sum, \c
        uxth    \b, \b
        adds    \a, \a, \b
        asrs    \a, \a, #16
        adds    \sum, \sum, \a
.endm
@ A value from 0 to 255, of which beyond these 0 is made for what is negative, else 255 in the lowest byte.
.macro BN_CLAMP value, free
        lsrs    \free, \value, #8
        beq     9f
        asrs    \value, \value, #31
        mvns    \value, \value
9:
.endm
