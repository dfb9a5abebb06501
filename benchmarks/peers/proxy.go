// A reverse proxy in front of InfluxDB, as go-torfluxdb has it: net/http, its default transport, every request passed
// on for itself. It does not log requests, which go-torfluxdb does, so it is the faster of the two.
//
//	proxy LISTEN BACKEND    such as: proxy 127.0.0.1:9000 127.0.0.1:8086
package main

import (
	"io"
	"log"
	"net/http"
	"os"
)

type proxy struct{ backend string }

func (p proxy) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	onward := *request
	onward.URL.Scheme, onward.URL.Host, onward.RequestURI = "http", p.backend, ""
	response, err := http.DefaultTransport.RoundTrip(&onward)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	defer response.Body.Close()
	for name, values := range response.Header {
		answer.Header()[name] = values
	}
	answer.WriteHeader(response.StatusCode)
	io.Copy(answer, response.Body)
}

func main() {
	log.Fatal(http.ListenAndServe(os.Args[1], proxy{os.Args[2]}))
}
