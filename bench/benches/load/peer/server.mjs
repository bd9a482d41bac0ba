// What Shaddock is compared with: rooms of Socket.IO 4 as its documentation makes them, in one process with its adapter in memory.
// Says its port on stderr, as Shaddock does. The argument is a directory below whose node_modules Socket.IO is.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const { Server } = createRequire(`${process.argv[2]}/`)('socket.io');

const http = createServer();
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false, serveClient: false });

io.on('connection', (socket) => {
  socket.on('enter', (name, room, done) => {
    socket.data = { name, room };
    socket.join(room);
    done(200);
  });
  socket.on('say', (msg, done) => {
    const { name, room } = socket.data;
    io.to(room).emit('message', { msg, from: name, target: '*', rid: room, time: Date.now() });
    done(200);
  });
  socket.on('leave', (done) => {
    socket.leave(socket.data.room);
    done(200);
  });
});

http.listen(0, '127.0.0.1', () => console.error(`listens on ${http.address().port}`));
