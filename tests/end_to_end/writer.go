// Writes points with nothing but the standard library: one POST each, to the URL that it is given, for as many points as
// it is told. With a proxy it asks that for the URL, as any program does where HTTP_PROXY is set.
//
//	writer URL FIRST COUNT TIME_NS [PROXY]
package main

import (
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

func number(text string) int64 {
	parsed, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return parsed
}

func main() {
	client := &http.Client{}
	if len(os.Args) > 5 {
		proxy, err := url.Parse(os.Args[5])
		if err != nil {
			log.Fatal(err)
		}
		client.Transport = &http.Transport{Proxy: http.ProxyURL(proxy)}
	}
	first, count, time := number(os.Args[2]), number(os.Args[3]), number(os.Args[4])
	for value := first; value < first+count; value++ {
		line := fmt.Sprintf("clients v=%di %d\n", value, time+value)
		answer, err := client.Post(os.Args[1], "text/plain; charset=utf-8", strings.NewReader(line))
		if err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 204 {
			log.Fatal(answer.Status)
		}
	}
}
