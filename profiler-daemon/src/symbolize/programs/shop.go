// Prints the addresses of calls of its functions, and waits until its input ends.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
)

//go:noinline
func price() uintptr {
	here, _, _, _ := runtime.Caller(0) // line 13
	return here - 1
}

type basket[T any] struct{ amount T }

//go:noinline
func (b *basket[T]) total() uintptr {
	here, _, _, _ := runtime.Caller(0) // line 21
	return here - 1
}

func discount() uintptr {
	here, _, _, _ := runtime.Caller(0) // inlined
	return here - 1
}

//go:noinline
func apply() uintptr { return discount() }

var nested func() uintptr

func main() {
	nested = func() uintptr {
		here, _, _, _ := runtime.Caller(0) // line 37
		return here - 1
	}
	fmt.Printf("%x %x %x %x\n", price(), (&basket[int]{1}).total(), nested(), apply())
	bufio.NewReader(os.Stdin).ReadByte()
}
